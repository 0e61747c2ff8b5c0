package osproc

import "errors"

// errNoCommandYet is the start of a child that ended as a shim: killed by
// somebody, or out of memory.
var errNoCommandYet = errors.New("the process ended before it could execute the command")

// born is a child with its streams.
type born struct {
	*child

	streams *streams
	free    func() // lets go of the thread that the child's life is bound to
	waited  bool   // it was ready before it was asked for, and may have died since
}

// bear makes a child on this goroutine's thread, which must be its own until
// free is called.
func bear(p plan, cradle Cradle, free func()) (*born, error) {
	s, err := newStreams()
	if err != nil {
		return nil, err
	}
	c, err := spawnFor(p, s.child, cradle)
	if err != nil {
		s.close()
		return nil, err
	}
	closeAll(s.child...) // the child has its own
	s.child = nil
	return &born{child: c, streams: s, free: free}, nil
}

func nothing() {}
