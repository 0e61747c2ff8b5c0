//go:build !linux

package osproc

// Main must be called first thing in main, or in TestMain, by every program
// that uses a Runner. On this system it does nothing.
func Main() {}
