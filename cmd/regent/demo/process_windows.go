package demo

import (
	"os"
	"os/exec"
)

// bind has nothing to do.
func bind(*exec.Cmd) {}

// kill ends one process at once.
func kill(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

func killGroup(pid int) { _ = kill(pid) } // it may be gone

// terminate has no gentler way here.
func terminate(pid int) error { return kill(pid) }

// gone reports whether a process has ended.
func gone(pid int) bool {
	_, err := os.FindProcess(pid)
	return err != nil
}
