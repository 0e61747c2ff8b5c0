package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// recorder waits on one epoll for everything: its lines are in the order in
// which it saw things, and it has nothing else to do that could make it late.
type recorder struct {
	epoll  int
	listen int
	out    *bufio.Writer
	count  int
	by     map[int32]*watched // by its connection's and by its process's descriptor
}

// watched is one process of an app.
type watched struct {
	number, pid  int
	conn, pidfd  int
	said, closed bool
	tick         trace.Instant
}

// runRecorder records until its standard input ends.
func runRecorder(socket string) error {
	r := &recorder{out: bufio.NewWriter(os.Stdout), by: map[int32]*watched{}}
	var err error
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if r.listen, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(r.listen, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("bind %s: %w", socket, err)
	}
	if err := unix.Listen(r.listen, 128); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for _, fd := range []int{r.listen, 0} {
		if err := r.add(fd); err != nil {
			return err
		}
	}
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	return r.loop()
}

func (r *recorder) add(fd int) error {
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

func (r *recorder) loop() error {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		now := trace.Now()
		for _, e := range events[:n] {
			switch fd := int(e.Fd); {
			case fd == 0:
				return r.out.Flush()
			case fd == r.listen:
				err = r.accept()
			default:
				err = r.heard(e.Fd, now)
			}
			if err != nil {
				return err
			}
		}
		if err := r.out.Flush(); err != nil {
			return err
		}
	}
}

// accept takes a process in. One that is dead already has left its hello, and
// the socket still knows who it was.
func (r *recorder) accept() error {
	conn, _, err := unix.Accept4(r.listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	cred, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("who is it: %w", err)
	}
	r.count++
	w := &watched{number: r.count, pid: int(cred.Pid), conn: conn, pidfd: -1}
	if w.pidfd, err = unix.GetsockoptInt(conn, unix.SOL_SOCKET, unix.SO_PEERPIDFD); errors.Is(err, unix.ENOPROTOOPT) {
		w.pidfd, err = unix.PidfdOpen(w.pid, 0) // a kernel before 6.5
	}
	if err != nil {
		w.pidfd = -1 // it is gone: its end is told with its hello
	} else {
		r.by[int32(w.pidfd)] = w
		if err := r.add(w.pidfd); err != nil {
			return err
		}
	}
	r.by[int32(conn)] = w
	return r.add(conn)
}

// heard is something that a process says, or its end.
func (r *recorder) heard(fd int32, now trace.Instant) error {
	w := r.by[fd]
	if w == nil {
		return nil // of this very round, and closed in it
	}
	if fd == int32(w.conn) {
		return r.said(w)
	}
	if err := r.drain(w); err != nil { // what it has said before its end
		return err
	}
	delete(r.by, fd)
	_ = unix.Close(w.pidfd)
	r.hangUp(w)
	if !w.said {
		return nil // it has begun nothing
	}
	return r.write(trace.Line{At: now, Proc: w.number, PID: w.pid, Tick: w.tick})
}

func (r *recorder) drain(w *watched) error {
	for !w.closed {
		before := w.tick
		said := w.said
		if err := r.said(w); err != nil {
			return err
		}
		if w.tick == before && w.said == said {
			return nil
		}
	}
	return nil
}

// said reads one message: the hello first, then ticks.
func (r *recorder) said(w *watched) error {
	buf := make([]byte, 4096)
	n, err := unix.Read(w.conn, buf)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		r.hangUp(w)
		if w.pidfd < 0 && w.said {
			return r.write(trace.Line{At: trace.Now(), Proc: w.number, PID: w.pid, Tick: w.tick})
		}
		return nil
	case w.said:
		tick, _ := strconv.ParseInt(string(buf[:n]), 10, 64)
		w.tick = max(w.tick, trace.Instant(tick))
		return nil
	}
	var h trace.Hello
	if err := json.Unmarshal(buf[:n], &h); err != nil {
		return fmt.Errorf("process %d says %q: %w", w.pid, buf[:n], err)
	}
	w.said, w.tick = true, h.At
	return r.write(trace.Line{At: trace.Now(), Proc: w.number, PID: w.pid, Hello: &h})
}

func (r *recorder) hangUp(w *watched) {
	if w.closed {
		return
	}
	w.closed = true
	delete(r.by, int32(w.conn))
	_ = unix.Close(w.conn)
}

func (r *recorder) write(l trace.Line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = r.out.Write(append(text, '\n'))
	return err
}
