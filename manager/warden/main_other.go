//go:build !linux

package warden

// Main does nothing on this system.
func Main(Connect) {}
