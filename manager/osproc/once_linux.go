package osproc

import (
	"os"
	"syscall"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// startOnce starts a command at once: it is in no ledger, and what it leaves
// running when this process is killed is nobody's.
func startOnce(path string, words, env []string, stdio []*os.File) (*child, error) {
	proc, err := os.StartProcess(path, words, &os.ProcAttr{
		Env: env, Files: stdio, Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return nil, err
	}
	return &child{proc: proc, group: samehost.Group{PGID: proc.Pid}}, nil
}
