//go:build !linux

package osproc

import "os"

func startOnce(path string, words, env []string, stdio []*os.File) (*child, error) {
	return spawn(plan{path: path, args: words, env: env}, stdio)
}
