package osproc

import (
	"context"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"
)

// Finished is how a command of [Once] has ended.
type Finished struct {
	Status    int    // exit status; that of a command that a signal has ended is 128 and its number, as in a shell
	Output    []byte // standard output and error, as they came
	Truncated bool   // there was more output
}

// Once runs a command to its end and returns its output, at most outputMax bytes
// of it: a process group of its own, with nothing on standard input and, of this
// process's environment, what apps see too. When ctx ends, or the command does,
// all that is left of the group is killed; after ctx the error is its cause.
// Words are the program and its arguments; no shell reads them.
func Once(ctx context.Context, words []string, outputMax int) (Finished, error) {
	if len(words) == 0 || words[0] == "" {
		return Finished{}, ErrNoCommand
	}
	env := inheritedOf(os.Environ())
	path, err := lookPath(words[0], "", variable(env, "PATH"))
	if err != nil {
		return Finished{}, err
	}
	// The kernel kills the command when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return Finished{}, err
	}
	defer closeAll(null)
	r, w, err := os.Pipe()
	if err != nil {
		return Finished{}, err
	}
	c, err := startOnce(path, words, env, []*os.File{null, w, w})
	closeAll(w)
	if err != nil {
		closeAll(r)
		return Finished{}, err
	}
	read := make(chan Finished, 1)
	go func() { read <- readMost(r, outputMax) }()
	cut := c.untilEnd(ctx)
	state := c.reap()
	// Nobody who is left can say anything, but for a process that has left the
	// group.
	_ = r.SetReadDeadline(time.Now().Add(drainGrace))
	f := <-read
	closeAll(r)
	if cut {
		return Finished{}, context.Cause(ctx)
	}
	f.Status = statusOf(state)
	return f, nil
}

// untilEnd returns when the command has ended, and reports whether ctx had to
// end it. What is left of its group is killed while it is a zombie, so that
// nobody else can have its number.
func (c *child) untilEnd(ctx context.Context) (cut bool) {
	ended := make(chan struct{})
	go func() { c.awaitLeader(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		cut = true
		c.kill()
		<-ended
	}
	if c.othersAlive() {
		c.kill()
	}
	return cut
}

// readMost reads to the end, and keeps a beginning.
func readMost(r io.Reader, most int) (f Finished) {
	f.Output, _ = io.ReadAll(io.LimitReader(r, int64(most))) // as much as there is
	if len(f.Output) == most {
		more, _ := io.Copy(io.Discard, r) // a full pipe would stop the command
		f.Truncated = more > 0
	}
	return f
}

func statusOf(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
