package warden

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// process is a warden, seen from its agent.
type process struct {
	proc  *os.Process
	start uint64 // its start time
	conn  net.Conn
	seq   uint64
}

// spawn starts this program as a warden. Of the environment it gets nothing but
// whose it is.
func spawn() (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket for the warden: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "warden"), os.NewFile(uintptr(fds[1]), "agent")
	defer func() { _ = ours.Close(); _ = theirs.Close() }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("socket for the warden: %w", err)
	}
	p := &process{conn: conn}
	// Not the path of the program: it may have been replaced since.
	p.proc, err = os.StartProcess("/proc/self/exe", []string{processName}, &os.ProcAttr{
		Dir: "/", Env: []string{agentEnv + "=" + strconv.Itoa(os.Getpid())},
		Files: []*os.File{null, null, os.Stderr, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start the warden: %w", err)
	}
	self, err := samehost.Find(p.proc.Pid)
	if err != nil {
		p.end(0)
		return nil, err
	}
	p.start = self.StartTime
	return p, nil
}

// write numbers a frame and sends it.
func (p *process) write(f frame, limit time.Duration) (uint64, error) {
	p.seq++
	f.Seq = p.seq
	text, err := encode(f)
	if err != nil {
		return 0, err
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(limit))
	if _, err := p.conn.Write(text); err != nil {
		return 0, fmt.Errorf("%w: %w", errSilent, err)
	}
	return p.seq, nil
}

// read passes on acknowledgements until the socket ends.
func (p *process) read(acks chan<- uint64, stop <-chan struct{}) {
	defer close(acks)
	for lines := frames(p.conn); lines.Scan(); {
		f, err := decode(lines.Bytes())
		if err != nil || f.Ack == 0 {
			return
		}
		select {
		case acks <- f.Ack:
		case <-stop:
			return
		}
	}
}

// end returns when the process is gone: by itself within limit, else killed.
// Only then is the socket closed.
func (p *process) end(limit time.Duration) {
	kill := time.AfterFunc(limit, func() { _ = p.proc.Kill() })
	_, _ = p.proc.Wait()
	kill.Stop()
	_ = p.conn.Close()
}
