package bus

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/wire"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func beatOf(n node.Name, agent policy.Nonce) machine.Beat {
	return machine.Beat{Node: n, Agent: agent, N: 1, Phase: machine.BeatUp}
}

func publish(t *testing.T, b *Bus, beat machine.Beat) {
	t.Helper()
	if err := b.PublishBeat(beat); err != nil {
		t.Fatal(err)
	}
}

// listen subscribes and returns the channel on which beats arrive.
func listen(t *testing.T, b *Bus) <-chan machine.Beat {
	t.Helper()
	heard := make(chan machine.Beat, 100)
	stop, err := b.SubscribeBeats(func(beat machine.Beat) { heard <- beat })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := b.conn.NATS().Flush(); err != nil { // the server knows of it
		t.Fatal(err)
	}
	return heard
}

func next(t *testing.T, heard <-chan machine.Beat) machine.Beat {
	t.Helper()
	select {
	case beat := <-heard:
		return beat
	case <-time.After(20 * time.Second):
		t.Fatal("no beat came")
		panic("unreachable")
	}
}

func TestBeatsReachTheOthers(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := New(dial(t, s), testCluster, "a@h", "agent-a")
	b := New(dial(t, s), testCluster, "b@h", "agent-b")
	heard := listen(t, b)
	want := beatOf("a@h", "agent-a")
	want.Full, want.Session, want.Apps = true, "s1", []machine.AppBeat{{App: "x", Started: true, Type: policy.Permanent}}
	publish(t, a, want)
	if got := next(t, heard); !reflect.DeepEqual(got, want) {
		t.Errorf("heard %+v, want %+v", got, want)
	}
}

// Another agent with this node's name must be heard: that is how a name taken
// twice is noticed.
func TestOwnBeatsAreIgnoredButNotThoseOfANamesake(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := New(dial(t, s), testCluster, "a@h", "agent-1")
	twin := New(dial(t, s), testCluster, "a@h", "agent-2")
	heard := listen(t, a)
	publish(t, a, beatOf("a@h", "agent-1"))
	publish(t, twin, beatOf("a@h", "agent-2"))
	if got := next(t, heard); got.Agent != "agent-2" {
		t.Errorf("heard %+v", got)
	}
	eventually(t, "one own, one heard", func() bool { return a.Stats() == Stats{Own: 1, Heard: 1} })
}

func TestClustersDoNotMeet(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := New(dial(t, s), testCluster, "a@h", "agent-a")
	other := New(dial(t, s), "default2", "a@h", "agent-o")
	heard := listen(t, a)
	publish(t, other, beatOf("a@h", "agent-o"))
	publish(t, other, beatOf("b@h", "agent-o"))
	if err := other.conn.NATS().Flush(); err != nil {
		t.Fatal(err)
	}
	b := New(other.conn, testCluster, "b@h", "agent-b")
	publish(t, b, beatOf("b@h", "agent-b")) // after those, on the same connection
	if got := next(t, heard); got.Agent != "agent-b" || len(heard) != 0 {
		t.Errorf("heard %+v, and %d more", got, len(heard))
	}
}

func TestHostileBeatsAreCountedAndDropped(t *testing.T) {
	checkLeaks(t)
	s := startServer(t, func(o *server.Options) { o.MaxPayload = 4 << 20 })
	a := New(dial(t, s), testCluster, "a@h", "agent-a")
	heard := listen(t, a)
	evil := dial(t, s).NATS()
	send := func(subject, data string) {
		t.Helper()
		if err := evil.Publish(subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	good := `{"v":1,"node":"b@h","agent":"agent-b","phase":"up"}`
	send(testCluster.Beat("b@h"), "")
	send(testCluster.Beat("b@h"), "\x00\x01")
	send(testCluster.Beat("b@h"), strings.Repeat("[", 200_000))
	send(testCluster.Beat("b@h"), `{"v":99,"node":[]}`)
	send(testCluster.Beat("b@h"), strings.Repeat(" ", wire.SizeMax)+good)
	send(testCluster.Beat("c@h"), good)
	send("regent.default.hb.b=40", good)
	send("regent.default.hb.b@h", good)
	send(testCluster.Beat("b@h"), good)
	if got := next(t, heard); got.Node != "b@h" {
		t.Errorf("heard %+v", got)
	}
	want := Stats{Heard: 1, Malformed: 3, Newer: 1, TooLarge: 1, Foreign: 3}
	if got := a.Stats(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestSlowReceiverLosesBeatsAndNothingElse(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := New(dial(t, s), testCluster, "a@h", "agent-a")
	b := New(dial(t, s), testCluster, "b@h", "agent-b")
	held, entered := make(chan struct{}), make(chan struct{}, 1)
	var heard atomic.Int64
	stop, err := a.SubscribeBeats(func(machine.Beat) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-held
		heard.Add(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	pongs, err := a.AnswerPings()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pongs)
	if err := a.conn.NATS().Flush(); err != nil {
		t.Fatal(err)
	}
	beat := beatOf("b@h", "agent-b")
	const more = 100
	publish(t, b, beat)
	<-entered
	for range beatsMax + more {
		publish(t, b, beat)
	}
	if alive, _ := b.Probe(t.Context(), "a@h"); !alive {
		t.Error("a doesn't answer pings while its receiver is slow")
	}
	eventually(t, "dropped ones are counted", func() bool { return a.Stats().Overflow >= more })
	close(held)
	eventually(t, "the rest is delivered", func() bool { return heard.Load() >= beatsMax })
}

func TestStopWaitsForTheCallback(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := New(dial(t, s), testCluster, "a@h", "agent-a")
	var running atomic.Bool
	entered := make(chan struct{}, 10)
	stop, err := a.SubscribeBeats(func(machine.Beat) {
		running.Store(true)
		entered <- struct{}{}
		<-time.After(20 * time.Millisecond)
		running.Store(false)
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, a, beatOf("b@h", "agent-b"))
	<-entered
	stop()
	if running.Load() {
		t.Error("stop returned while the callback ran")
	}
	a.conn.Close()
	stop() // after the connection is gone, and again
}

func TestProbe(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := New(dial(t, s), testCluster, "a@h", "agent-a")
	ctx := t.Context()
	if alive, nobody := a.Probe(ctx, "b@h"); alive || !nobody {
		t.Errorf("no such node: alive %t, no responders %t", alive, nobody)
	}
	conn := dial(t, s)
	b := New(conn, testCluster, "b@h", "agent-b")
	stop, err := b.AnswerPings()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	eventually(t, "b answers", func() bool { alive, nobody := a.Probe(ctx, "b@h"); return alive && !nobody })
	msg, err := a.conn.NATS().Request(testCluster.Ping("b@h"), nil, time.Second)
	if err != nil || string(msg.Data) != `{"v":1,"node":"b@h","agent":"agent-b"}` {
		t.Errorf("pong %q, %v", msg.Data, err)
	}

	conn.Close()
	eventually(t, "b's end is seen", func() bool { _, nobody := a.Probe(ctx, "b@h"); return nobody })

	// Somebody is there and says nothing: nothing was learned.
	silent, err := a.conn.NATS().Subscribe(testCluster.Ping("c@h"), func(*nats.Msg) {})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Unsubscribe()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if alive, nobody := a.Probe(short, "c@h"); alive || nobody {
		t.Errorf("silent node: alive %t, no responders %t", alive, nobody)
	}
}

func TestBeatErrors(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	a := New(dial(t, s), testCluster, "a@h", "agent-a")
	if err := a.PublishBeat(machine.Beat{Node: "a@h"}); err == nil {
		t.Error("published a beat without an agent")
	}
	a.conn.Close()
	if err := a.PublishBeat(beatOf("a@h", "agent-a")); err == nil {
		t.Error("published on a closed connection")
	}
	if _, err := a.SubscribeBeats(func(machine.Beat) {}); err == nil {
		t.Error("subscribed on a closed connection")
	}
}

func TestSeldom(t *testing.T) {
	s := seldom{every: time.Hour}
	if n, due := s.due("x"); n != 0 || !due {
		t.Errorf("first: %d, %t", n, due)
	}
	if _, due := s.due("x"); due {
		t.Error("twice in an hour")
	}
	if _, due := s.due("y"); !due {
		t.Error("another kind was kept back")
	}
	s.every = 0
	s.keys["x"].next = time.Time{}
	if n, due := s.due("x"); n != 1 || !due {
		t.Errorf("later: %d, %t", n, due)
	}
	for i := range 10 * keysMax {
		s.due(fmt.Sprint("key", i))
	}
	if len(s.keys) > keysMax {
		t.Errorf("remembers %d kinds", len(s.keys))
	}
}
