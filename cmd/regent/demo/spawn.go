package demo

import (
	"os/exec"
	"runtime"
)

// spawner starts processes from one OS thread. The kernel's signal on the death
// of the parent (PR_SET_PDEATHSIG) follows the thread that forked, and the Go
// runtime ends threads as it likes: this one lives until close, whose end the
// children don't survive.
type spawner struct {
	orders chan order
	done   chan struct{}
}

type order struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner() *spawner {
	s := &spawner{make(chan order), make(chan struct{})}
	go s.loop()
	return s
}

func (s *spawner) loop() {
	defer close(s.done)
	runtime.LockOSThread() // without unlocking: the thread ends with the goroutine
	for o := range s.orders {
		o.result <- o.cmd.Start()
	}
}

func (s *spawner) start(cmd *exec.Cmd) error {
	o := order{cmd, make(chan error, 1)}
	s.orders <- o
	return <-o.result
}

func (s *spawner) close() {
	close(s.orders)
	<-s.done
}
