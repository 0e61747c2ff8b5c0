package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/seed7529eb29/regent/bus/cred"
)

// natsContext is where a context of the nats CLI stands: its file, and the
// directory of the secrets that the file names.
type natsContext struct{ path, secrets string }

// newNATSContext checks the name as the nats CLI does, and that nobody else's
// context has it.
func newNATSContext(name string) (natsContext, error) {
	if strings.Contains(name, "..") || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) {
		return natsContext{}, usage("--context", "invalid name %q", name)
	}
	config, err := configHome()
	if err != nil {
		return natsContext{}, err
	}
	c := natsContext{
		path:    filepath.Join(config, "nats", "context", name+".json"),
		secrets: filepath.Join(config, "nats", "regent", name),
	}
	return c, mayReplace(c.path)
}

// configHome is $XDG_CONFIG_HOME as the nats CLI understands it.
func configHome() (string, error) {
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("directory of nats contexts: %w", err)
	}
	return filepath.Join(home, ".config"), nil
}

func readContext(path string) (natscontext.Settings, error) {
	var s natscontext.Settings
	text, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// write makes the context, whole or not at all.
func (c natsContext) write(description, url string) error {
	text, err := json.MarshalIndent(natscontext.Settings{
		Description: description, URL: url,
		Creds: filepath.Join(c.secrets, cred.FileCreds),
		CA:    filepath.Join(c.secrets, cred.FileCA),
		Cert:  filepath.Join(c.secrets, cred.FileCert),
		Key:   filepath.Join(c.secrets, cred.FileKey),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode context: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	next := c.path + ".new"
	if err := os.WriteFile(next, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	return os.Rename(next, c.path)
}
