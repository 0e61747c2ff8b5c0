package warden

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Life is the agent whose end is to be proved, and where to say so.
type Life struct {
	Cluster string          `json:"cluster"`
	Node    node.Name       `json:"node"`
	Agent   policy.Nonce    `json:"agent"`
	TTL     time.Duration   `json:"ttl"`
	Reach   json.RawMessage `json:"reach"`             // how to reach the cluster, in the Certifier's words; secret
	Cgroups string          `json:"cgroups,omitempty"` // the directory of its cgroups; for the Client to set
}

// frame is one message between agent and warden: one JSON object in a line.
// Exactly one of its parts is there.
type frame struct {
	V    int    `json:"v"`
	Seq  uint64 `json:"seq,omitempty"` // the agent's are numbered, and acknowledged
	Ack  uint64 `json:"ack,omitempty"` // by the warden: all up to this one are known
	Life *Life  `json:"life,omitempty"`
	// Reach takes the place of that in Life: the credentials have changed.
	Reach json.RawMessage `json:"reach,omitempty"`

	Add  *group `json:"add,omitempty"`
	Gone *group `json:"gone,omitempty"`
	Arm  *arm   `json:"arm,omitempty"`
	All  bool   `json:"all,omitempty"` // every group that ran before this warden has been told
	Bye  bool   `json:"bye,omitempty"` // nothing runs any more, and nothing will
}

// group is a process group in a frame.
type group struct {
	App    policy.App      `json:"app,omitempty"`
	PGID   int             `json:"pgid"`
	Start  uint64          `json:"start"`
	Cgroup samehost.Cgroup `json:"cgroup,omitempty"`
}

func (g group) group() samehost.Group {
	return samehost.Group{App: g.App, PGID: g.PGID, StartTime: g.Start, Cgroup: g.Cgroup}
}

func groupOf(g samehost.Group) group {
	return group{App: g.App, PGID: g.PGID, Start: g.StartTime, Cgroup: g.Cgroup}
}

// arm sets the moments at which the warden acts and, should it stand still then,
// is ended itself. They are on CLOCK_BOOTTIME; 0 is never.
type arm struct {
	At   time.Duration `json:"at"`
	Last time.Duration `json:"last"`
}

const (
	frameVersion = 1
	frameMax     = 64 << 10 // credentials are the largest
)

// errFrame is wrapped by every error about what came through the socket.
var errFrame = errors.New("not a message between agent and warden")

func encode(f frame) ([]byte, error) {
	f.V = frameVersion
	text, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	if len(text) >= frameMax {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errFrame, len(text), frameMax)
	}
	return append(text, '\n'), nil
}

// decode reads one line strictly: both ends are the same program.
func decode(line []byte) (frame, error) {
	var f frame
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return frame{}, fmt.Errorf("%w: something follows the object", errFrame)
	}
	if err := f.check(); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	return f, nil
}

func (f frame) check() error {
	parts := 0
	for _, there := range []bool{f.Ack > 0, f.Life != nil, f.Reach != nil, f.Add != nil, f.Gone != nil, f.Arm != nil, f.All, f.Bye} {
		if there {
			parts++
		}
	}
	switch {
	case f.V != frameVersion:
		return fmt.Errorf("version %d, want %d", f.V, frameVersion)
	case parts != 1:
		return fmt.Errorf("%d parts, want one", parts)
	case (f.Ack > 0) == (f.Seq > 0):
		return errors.New("neither numbered nor an acknowledgement, or both")
	case f.Add != nil && f.Add.PGID <= 1, f.Gone != nil && f.Gone.PGID <= 1:
		return errors.New("no process group") // 1 is init's, 0 the reader's own
	case f.Arm != nil && (f.Arm.At < 0 || f.Arm.Last < 0):
		return errors.New("a moment before the start of the host")
	case f.Life != nil && (f.Life.Node == "" || f.Life.Agent == "" || f.Life.TTL <= 0):
		return errors.New("a life without node, agent or lease")
	}
	return nil
}

// frames reads lines of at most frameMax.
func frames(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 1<<10), frameMax)
	return s
}
