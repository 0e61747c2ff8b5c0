//go:build linux

package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// recorder is the process that watches the apps, and what it has seen.
type recorder struct {
	socket string
	cmd    *exec.Cmd
	stdin  io.Closer
	birth  *thread
	done   chan struct{}

	mu   sync.Mutex
	cast trace.Cast
}

// newRecorder starts it, before everything else in the eyes of the scheduler: on
// a busy machine a late look would make an end seem later than it was.
func newRecorder(dir string) (*recorder, error) {
	r := &recorder{socket: filepath.Join(dir, "recorder"), done: make(chan struct{})}
	var err error
	if r.birth, err = newThread(0); err != nil {
		return nil, err
	}
	r.cmd = exec.Command(stagehand(), "recorder", r.socket)
	r.cmd.Stderr = os.Stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.birth.do(func() {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}, 0)
		if err == nil {
			err = r.cmd.Start()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("start the recorder: %w", err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return nil, fmt.Errorf("the recorder says nothing: %w", lines.Err())
	}
	go r.read(lines)
	return r, nil
}

func (r *recorder) read(lines *bufio.Scanner) {
	defer close(r.done)
	for lines.Scan() {
		var l trace.Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			panic(fmt.Sprintf("line of the recorder %q: %v", lines.Text(), err)) // both ends are ours
		}
		r.mu.Lock()
		r.cast.Add(l)
		r.mu.Unlock()
	}
}

// instances are copies of all that were seen of an app, or of all, in order.
func (r *recorder) instances(app string) (all []*trace.Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range r.cast.All() {
		if app == "" || in.App == app {
			c := *in
			c.Procs = slices.Clone(in.Procs)
			all = append(all, &c)
		}
	}
	return all
}

// alive are those of which a process is there.
func (r *recorder) alive(app string) []*trace.Instance {
	return slices.DeleteFunc(r.instances(app), func(in *trace.Instance) bool { return in.End() != 0 })
}

// close is for when no app is alive any more.
func (r *recorder) close() {
	_ = r.stdin.Close()
	<-r.done
	_ = r.cmd.Wait()
	r.birth.close()
	_ = os.Remove(r.socket)
}
