package proc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Names of what every system has.
const (
	FunctionEcho  = "echo"      // returns its argument
	FunctionNode  = "node"      // returns the node's name
	FunctionNames = "functions" // returns the names of the node's functions
	FunctionInbox = "inbox"     // returns what was sent to the process inbox, oldest first
	InboxName     = "inbox"
)

// InboxEntry is a message in the inbox, as the function inbox shows it.
type InboxEntry struct {
	From  *PID            `json:"from"` // nil: no process
	Value json.RawMessage `json:"value"`
}

const inboxMessages = 1000

// builtIn registers the functions and the process that every node has.
func (s *System) builtIn() {
	echo := func(_ context.Context, _ *Self, args Payload) (any, error) { return args, nil }
	name := func(context.Context, *Self, Payload) (any, error) { return s.self, nil }
	inbox := func(ctx context.Context, self *Self, _ Payload) (any, error) {
		return CallPayload(ctx, self, Name{Name: InboxName}, "read")
	}
	s.functions[FunctionEcho] = function{echo, s.mailbox}
	s.functions[FunctionNode] = function{name, s.mailbox}
	names := func(context.Context, *Self, Payload) (any, error) { return s.functionNames(), nil }
	s.functions[FunctionNames] = function{names, s.mailbox}
	s.functions[FunctionInbox] = function{inbox, s.mailbox}
	p, err := s.newProcess(Mailbox{Messages: inboxMessages, Bytes: 1 << 20, Full: FullDropOld})
	if err == nil {
		err = s.register(InboxName, p)
	}
	if err != nil {
		panic(err) // in a system that has nothing yet neither can fail
	}
	s.start(p, Server(runInbox), Payload{}, nil)
}

func (s *System) functionNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.functions))
}

// runInbox keeps what was sent, a bounded part of it, until the node ends.
func runInbox(ctx context.Context, self *Self) error {
	var kept []InboxEntry
	size := 0
	for {
		m, err := self.Receive(ctx)
		if err != nil {
			return nil //nolint:nilerr // the node ends
		}
		switch m := m.(type) {
		case *Request:
			m.Reply(append([]InboxEntry{}, kept...))
		case Msg:
			e := entryOf(m)
			kept, size = append(kept, e), size+len(e.Value)
			for len(kept) > inboxMessages || size > inboxBytes && len(kept) > 1 {
				size -= len(kept[0].Value)
				kept = kept[1:]
			}
		}
	}
}

// inboxBytes lets all of it fit into one answer.
const inboxBytes = 256 << 10

// entryOf shows a message in JSON: what is not JSON as the text of its bytes.
func entryOf(m Msg) InboxEntry {
	e := InboxEntry{Value: m.Data}
	if !m.From.IsZero() {
		from := m.From
		e.From = &from
	}
	if m.Codec != CodecJSON || !json.Valid(m.Data) {
		e.Value, _ = json.Marshal(string(m.Data)) // text can always be encoded
	}
	if len(e.Value) > inboxBytes {
		e.Value, _ = json.Marshal(fmt.Sprintf("(%d bytes)", len(m.Data))) // likewise
	}
	return e
}
