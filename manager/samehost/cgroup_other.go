//go:build !linux

package samehost

// Kill does nothing: there are no cgroups.
func (c Cgroup) Kill() {}

// Empty is true: there are no cgroups.
func (c Cgroup) Empty() bool { return true }

// Remove does nothing: there are no cgroups.
func (c Cgroup) Remove() {}
