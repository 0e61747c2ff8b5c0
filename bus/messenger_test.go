package bus

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestMessenger: frames arrive in order at the node they are for, and a frame
// is not kept by who sends it.
func TestMessenger(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := NewMessenger(dial(t, s).NATS(), "default", "a@h")
	b := NewMessenger(dial(t, s).NATS(), "default", "b@h")
	got := make(chan []byte, 1000)
	stop, err := b.Listen(func(f []byte) { got <- f })
	if err != nil {
		t.Fatal(err)
	}
	frame := []byte{0}
	for i := range 1000 {
		frame[0] = byte(i)
		if err := a.Send("b@h", frame); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		select {
		case f := <-got:
			if !bytes.Equal(f, []byte{byte(i)}) {
				t.Fatalf("frame %d is %v", i, f)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("frame %d has not come", i)
		}
	}
	stop()
	if err := a.Send("b@h", make([]byte, a.MaxFrame()+1)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("too large: %v", err)
	}
	if a.MaxFrame() != 1<<20 {
		t.Errorf("largest frame: %d", a.MaxFrame())
	}
}

// TestMessengerAbsence: nobody answers for a node that is not there; one that
// answers pings is there.
func TestMessengerAbsence(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	conn := dial(t, s)
	m := NewMessenger(conn.NATS(), "default", "a@h")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !m.Absent(ctx, "b@h") {
		t.Error("a node that never was is there")
	}
	stop, err := New(dial(t, s), "default", "b@h", "agent").AnswerPings()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	eventually(t, "the node is there", func() bool { return !m.Absent(ctx, "b@h") })
	if a, none := m.Agent(ctx, "b@h"), m.Agent(ctx, "c@h"); a != "agent" || none != "" {
		t.Errorf("agents: %q, %q", a, none)
	}
	conn.Close()
	if err := m.Send("b@h", nil); err == nil {
		t.Error("sent without a connection")
	}
}
