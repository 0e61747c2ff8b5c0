package osproc

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// drainGrace is how long the output of a group that is gone may still be read.
// What it printed is in the pipes and read in no time; only a process that left
// the group can hold them open.
const drainGrace = 50 * time.Millisecond

// streams are standard input, output and error of one process.
type streams struct {
	child  []*os.File // the child's ends: 0, 1 and 2
	out    *os.File
	err    *os.File
	copies sync.WaitGroup
}

func newStreams() (*streams, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	s := &streams{child: []*os.File{null}}
	for _, end := range []**os.File{&s.out, &s.err} {
		r, w, err := os.Pipe()
		if err != nil {
			s.close()
			return nil, err
		}
		*end, s.child = r, append(s.child, w)
	}
	return s, nil
}

// pass begins to read what the child writes, once the child has its ends.
func (s *streams) pass(output func(Line)) {
	closeAll(s.child...)
	s.child = nil
	if output == nil {
		output = func(Line) {}
	}
	s.copies.Go(func() { copyLines(s.out, Stdout, output) })
	s.copies.Go(func() { copyLines(s.err, Stderr, output) })
}

// drain reads the rest and closes. It waits for a blocked receiver of the
// output no longer than for a blocked pipe.
func (s *streams) drain() {
	deadline := time.Now().Add(drainGrace)
	_ = s.out.SetReadDeadline(deadline)
	_ = s.err.SetReadDeadline(deadline)
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.copies.Wait()
		s.close()
	}()
	select {
	case <-read:
	case <-time.After(2 * drainGrace):
	}
}

func (s *streams) close() {
	closeAll(s.out, s.err)
	closeAll(s.child...)
}

// closeAll closes the files that are open; nil ones are passed over by Close.
func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// pipe is an os.Pipe for one byte or one message.
type pipe struct{ r, w *os.File }

func newPipe() (p pipe, err error) {
	p.r, p.w, err = os.Pipe()
	return p, err
}

func (p pipe) close() { closeAll(p.r, p.w) }

// message reads what was written until all writers have closed.
func (p pipe) message() (string, error) {
	content, err := io.ReadAll(io.LimitReader(p.r, 64))
	if err != nil {
		return "", errors.Join(errors.New("read from the child"), err)
	}
	return string(content), nil
}
