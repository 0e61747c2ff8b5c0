//go:build !unix

package osproc

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// lookPath finds the program name, as seen from dir. The PATH of this process
// counts, not that of the command.
func lookPath(name, dir, _ string) (string, error) {
	if strings.ContainsAny(name, `/\`) && !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	file, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(file)
}
