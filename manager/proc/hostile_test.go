package proc

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// TestPIDs: what is printed is parsed, in text and in JSON; nothing else is.
func TestPIDs(t *testing.T) {
	for _, p := range []PID{{}, {n1, "life-1", 1}, {"a@[::1]", "8d5f0e0c-6a3c-4e9e-9a53-9f9cb7f9f2f1", 1<<64 - 1}} {
		back, err := ParsePID(p.String())
		if err != nil || back != p {
			t.Errorf("%v came back as %v: %v", p, back, err)
		}
		text, err := json.Marshal(map[PID]PID{p: p})
		var m map[PID]PID
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil || m[p] != p {
			t.Errorf("%v: JSON %s: %v", p, text, err)
		}
	}
	for _, s := range []string{
		"", "<", "<>>", "n1@h/l/1", "<n1@h/l/1", "<n1@h/l/0>", "<n1@h/l/01>", "<n1@h/l/-1>", "<n1@h/l/18446744073709551616>",
		"<n1@h//1>", "<n1/l/1>", "<n1@h/l/1/2>", "<n1@h/a b/1>", "<" + strings.Repeat("x", 300) + "@h/l/1>", "<n1@h/" + strings.Repeat("l", 65) + "/1>",
	} {
		if p, err := ParsePID(s); !errors.Is(err, ErrPID) {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
}

func FuzzParsePID(f *testing.F) {
	for _, s := range []string{"<>", "<n1@h/life/1>", "<n1@[::1]/8d5f0e0c-6a3c/99>", "<n1@h/l/0>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePID(s)
		if err == nil && p.String() != s {
			t.Errorf("%q was read as %v", s, p)
		}
	})
}

func sampleFrames() []frame {
	return []frame{
		{kind: kindHello, conn: 1, node: n1, life: "life", flags: flagHidden | flagTicks},
		{kind: kindWelcome, conn: 1, number: 1 << 60, node: n2, life: "life", want: "other"},
		{kind: kindRefuse, conn: 1, node: n2, text: "no"},
		{kind: kindProbe, conn: 1<<64 - 1, node: n1, number: 7, ack: 3, ackBytes: 9},
		{kind: kindSend, conn: 5, number: 1, from: 2, to: 3, payload: Payload{Codec: CodecJSON, Data: []byte("1")}},
		{kind: kindCall, conn: 5, number: 1, ref: 9, name: "server", payload: Payload{Codec: "own", Data: []byte{}}},
		{kind: kindFail, conn: 5, number: 3, ref: 9, fail: failExit, text: "noproc", payload: Payload{Data: []byte{}}},
		{kind: kindGroup, conn: 5, number: 4, name: "g", list: []uint64{1, 2, 1 << 63}, payload: Payload{Data: []byte{}}},
	}
}

func TestFrames(t *testing.T) {
	for _, f := range sampleFrames() {
		b := appendFrame(nil, &f)
		var back frame
		if err := parseFrame(b, &back); err != nil || !reflect.DeepEqual(f, back) {
			t.Errorf("%+v came back as %+v: %v", f, back, err)
		}
		for n := range b {
			if err := parseFrame(b[:n], &back); err == nil && !f.kind.numbered() {
				t.Errorf("%+v: the first %d of %d bytes are a frame", f, n, len(b))
			}
		}
		b[0] = version + 1
		if err := parseFrame(b, &back); !errors.Is(err, errNewerFrame) || back.conn != f.conn {
			t.Errorf("newer: %v", err)
		}
	}
}

// FuzzFrame: no bytes are a panic, and what is read is written alike.
func FuzzFrame(f *testing.F) {
	for _, s := range sampleFrames() {
		f.Add(appendFrame(nil, &s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second frame
		if parseFrame(b, &first) != nil {
			return
		}
		if err := parseFrame(appendFrame(nil, &first), &second); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%+v came back as %+v: %v", first, second, err)
		}
	})
}

// TestGarbage: frames that nobody sent in earnest change nothing.
func TestGarbage(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		ctx := t.Context()
		victim := spawned(t, b, "victim", sleeper)
		if err := a.Connect(ctx, n2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		port := f.ports[n2]
		give := func(fr frame) {
			port.in.Lock()
			defer port.in.Unlock()
			b.Receive(appendFrame(nil, &fr))
		}
		// Of connections that never were.
		for k := kindHello; k < kindLastKind; k++ {
			for _, conn := range []uint64{0, 1, 1 << 63} {
				give(frame{kind: k, conn: conn, number: 1, node: n3, life: "forged", want: b.life, from: 1, to: victim.Serial, text: string(Kill), flags: 255, ref: 1, name: "victim"})
				give(frame{kind: k, conn: conn, number: 1, node: n2, life: "forged"})
			}
		}
		for _, raw := range [][]byte{nil, {}, {0}, {1}, {1, 7}, {255, 255}, []byte(strings.Repeat("x", 5000)), slices.Repeat([]byte{1}, 64)} {
			port.in.Lock()
			b.Receive(raw)
			port.in.Unlock()
		}
		if s := b.Stats(); s.Unreadable == 0 || s.Newer == 0 || s.Stale == 0 {
			t.Errorf("not counted: %+v", s)
		}
		time.Sleep(10 * time.Second)
		if v, err := Apply[string](ctx, a, n2, FunctionNode, nil); err != nil || v != string(n2) {
			t.Errorf("%v %v", v, err)
		}
		if pid, ok := b.Whereis("victim"); !ok || pid != victim {
			t.Error("the victim has ended")
		}
		if a.Stats().Lost+b.Stats().Lost > 0 {
			t.Error("garbage has ended a connection")
		}
		expectNodes(t, b, Connected, n1)
	})
}

// TestUndecodableFrameEndsConnection: what can't be read on a live connection
// is missing there, so nobody is left waiting for it.
func TestUndecodableFrameEndsConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		pid := spawned(t, b, "", sleeper)
		hand(t, a, func(ctx context.Context, self *Self) {
			self.Monitor(ctx, pid)
			time.Sleep(time.Second)
			raw := appendFrame(nil, &frame{kind: kindLastKind, conn: a.connTo(n2).id, number: 2})
			port := f.ports[n2]
			port.in.Lock()
			b.Receive(raw)
			port.in.Unlock()
			if d := next[Down](t, ctx, self); d.Reason != NoConnection {
				t.Errorf("%+v", d)
			}
			if _, err := Apply[string](ctx, self, n2, FunctionNode, nil); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestVersionSkew: a node that speaks a newer version is told so, and calls end
// with an error that says it.
func TestVersionSkew(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a := f.start(n1)
		f.start(n2)
		// n1 hears of n2 as if its own hello were of a newer version.
		port := f.ports[n1]
		f.mu.Lock()
		skewed := &skew{port}
		f.mu.Unlock()
		a.t = skewed
		err := a.Connect(t.Context(), n2)
		if !errors.Is(err, ErrNewer) || !errors.Is(err, ErrNoConnection) {
			t.Errorf("%v", err)
		}
	})
}

// skew sends everything as a newer version.
type skew struct{ *port }

func (s *skew) Send(to node.Name, data []byte) error {
	data = slices.Clone(data)
	data[0] = version + 1
	return s.port.Send(to, data)
}

// TestOldHelloIsHarmless: a hello that comes again long after, with everything
// that was sent after it, is answered and delivers nothing.
func TestOldHelloIsHarmless(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		var tape [][]byte
		a, b := f.start(n1), f.start(n2)
		a.t = &recorder{f.ports[n1], &tape}
		spawned(t, b, "adder", adder)
		sum := func() int {
			v, err := Call[int](t.Context(), b, Name{Name: "adder"}, nil)
			if err != nil {
				t.Error(err)
			}
			return v
		}
		for range 5 {
			if err := a.Send(t.Context(), Name{"adder", n2}, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		f.mu.Lock()
		old := slices.Clone(tape)
		f.mu.Unlock()
		a.Disconnect(n2)
		time.Sleep(5 * time.Second)
		for _, connected := range []bool{false, true} {
			if connected {
				if err := a.Connect(t.Context(), n2); err != nil {
					t.Fatal(err)
				}
			}
			for _, frame := range old {
				port := f.ports[n2]
				port.in.Lock()
				b.Receive(frame)
				port.in.Unlock()
			}
			time.Sleep(10 * time.Second)
			if v := sum(); v != 5 {
				t.Errorf("connected=%v: %d instead of 5", connected, v)
			}
		}
		if _, err := Apply[string](t.Context(), a, n2, FunctionNode, nil); err != nil {
			t.Error(err)
		}
	})
}

type recorder struct {
	*port
	tape *[][]byte
}

func (r *recorder) Send(to node.Name, data []byte) error {
	r.f.mu.Lock()
	*r.tape = append(*r.tape, slices.Clone(data))
	r.f.mu.Unlock()
	return r.port.Send(to, data)
}

// TestPanicIsLogged: with its stack, and the process has a reason.
func TestPanicIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		var log strings.Builder
		a := f.start(n1, func(o *Options) { o.Logger = slogTo(&log) })
		hand(t, a, func(ctx context.Context, self *Self) {
			self.Monitor(ctx, spawned(t, a, "", func(context.Context, *Self) error { panic("ouch\nline 2") }))
			if d := next[Down](t, ctx, self); d.Reason != "panic: ouch line 2" && d.Reason != NoProc {
				t.Errorf("%+v", d)
			}
		})
		if text := log.String(); !strings.Contains(text, "ouch") || !strings.Contains(text, "hostile_test.go") {
			t.Errorf("log: %s", text)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Node: n1, Life: "l", Transport: &port{}}
	for what, change := range map[string]func(*Options){
		"no node": func(o *Options) { o.Node = "" }, "no life": func(o *Options) { o.Life = "" },
		"no transport": func(o *Options) { o.Transport = nil }, "nameless codec": func(o *Options) { o.Codec = nameless{} },
	} {
		o := good
		change(&o)
		if _, err := New(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

type nameless struct{ upper }

func (nameless) Name() string { return "" }
