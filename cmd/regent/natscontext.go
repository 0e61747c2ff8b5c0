package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// contextPath is the file of a context: by its name, or by its absolute path.
func contextPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.Contains(name, "..") || strings.ContainsAny(name, `/\`) {
		return "", errors.New("not the name of a context")
	}
	config, err := configHome()
	return filepath.Join(config, "nats", "context", name+".json"), err
}

// loadContext reads a context as the nats CLI and orbit.go/natscontext do.
// Paths in it are complete.
func loadContext(name string) (natscontext.Settings, error) {
	path, err := contextPath(name)
	if err != nil {
		return natscontext.Settings{}, err
	}
	s, err := readContext(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, fmt.Errorf("no such context: there is no %s", path)
	case err != nil:
		return s, fmt.Errorf("%s: %w", path, err)
	}
	s.Creds = os.ExpandEnv(s.Creds)
	for _, file := range []*string{&s.Creds, &s.NKey, &s.CA, &s.Cert, &s.Key} {
		if rest, ok := strings.CutPrefix(*file, "~/"); ok {
			home, err := os.UserHomeDir()
			if err != nil {
				return s, err
			}
			*file = filepath.Join(home, rest)
		}
	}
	return s, nil
}

func readContext(path string) (natscontext.Settings, error) {
	var s natscontext.Settings
	text, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// write makes the context, whole or not at all. With withKey the secret is an
// nkey, for servers that are not the nodes'.
func (c natsContext) write(description, url string, withKey bool, ca string) error {
	s := natscontext.Settings{Description: description, URL: url}
	if withKey {
		s.NKey, s.CA = filepath.Join(c.secrets, cred.FileNKey), ca
	} else {
		s.Creds = filepath.Join(c.secrets, cred.FileCreds)
		s.CA = filepath.Join(c.secrets, cred.FileCA)
		s.Cert = filepath.Join(c.secrets, cred.FileCert)
		s.Key = filepath.Join(c.secrets, cred.FileKey)
	}
	text, err := json.MarshalIndent(s, "", "  ")
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
