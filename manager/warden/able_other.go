//go:build !linux

package warden

import "errors"

// Cgroups says why no app of this process could be put in a cgroup of its own.
func Cgroups() error { return errors.New("there are cgroups on Linux only") }
