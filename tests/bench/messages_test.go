//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/embedded/embeddedtest"
	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/proc"
)

// measured is what one kind of message costs, of one way to send it.
type measured struct {
	way, what   string
	n           int
	times       []time.Duration // of round trips
	perSecond   float64         // of one-way messages
	allocs      float64         // both ends together, per message
	allocsKnown bool
}

// TestMessages measures messages between two nodes: regent's, what NATS itself
// costs on the same connections' servers, and Erlang's.
func TestMessages(t *testing.T) {
	if *failovers <= 0 {
		t.Skip("SKIPPED: measures for minutes: make bench")
	}
	servers := threeServers(t)
	var all []measured
	// Alternating series: what else the machine does hits all of them.
	for range min(3, *failovers) {
		all = append(all, natsSeries(t, servers)...)
		all = append(all, regentSeries(t, servers)...)
		all = append(all, erlangSeries(t)...)
	}
	tab := messageTable(all)
	t.Log("\n" + tab.String())
	if *write {
		tab.write(t)
	}
}

func threeServers(t *testing.T) []*embedded.Server {
	var servers []*embedded.Server
	voters := embeddedtest.Voters(t, 3)
	for _, v := range voters {
		o := embeddedtest.Options(t, v.Name)
		o.ClusterListen, o.Voters = v.ClusterAddr, voters
		servers = append(servers, embeddedtest.StartWith(t, o))
	}
	return servers
}

// connect is how a node with a server of its own is connected.
func connect(t *testing.T, s *embedded.Server, name string) *nats.Conn {
	t.Helper()
	login, err := s.ConnOptions(cred.App, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Dial(t.Context(), bus.Options{URLs: []string{s.ClientURL()}, Login: login, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.NATS()
}

const (
	lostAfter  = 10 * time.Second // what has not arrived by then never will
	roundTrips = 5000
	warmUp     = 500
)

// sizes of one-way messages, and how many.
var sizes = []struct{ bytes, n int }{{100, 100_000}, {1000, 100_000}, {10_000, 20_000}}

// round measures round trips, and what both ends allocate for one.
func round(t *testing.T, way, what string, do func() error) measured {
	t.Helper()
	m := measured{way: way, what: what, n: roundTrips, allocsKnown: true}
	for range warmUp {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	m.times = make([]time.Duration, 0, roundTrips)
	before := mallocs()
	for range roundTrips {
		begin := time.Now()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		m.times = append(m.times, time.Since(begin))
	}
	m.allocs = float64(mallocs()-before) / roundTrips
	return m
}

func mallocs() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.Mallocs
}

// stream measures one-way messages, from the first until all have arrived.
func stream(t *testing.T, way string, size, n int, send func() error, arrived func() error) measured {
	t.Helper()
	before, begin := mallocs(), time.Now()
	var err error
	for i := 0; i < n && err == nil; i++ {
		err = send()
	}
	if err == nil {
		err = arrived()
	}
	if err != nil {
		t.Logf("%s, %d bytes: not measured this time: %v", way, size, err)
		return measured{}
	}
	took := time.Since(begin)
	return measured{
		way: way, what: fmt.Sprintf("one-way-%d", size), n: n, perSecond: float64(n) / took.Seconds(),
		allocs: float64(mallocs()-before) / float64(n), allocsKnown: true,
	}
}

func natsSeries(t *testing.T, servers []*embedded.Server) (out []measured) {
	a, b := connect(t, servers[0], "plain a"), connect(t, servers[1], "plain b")
	defer a.Close()
	defer b.Close()
	var got atomic.Int64
	echo, err := b.Subscribe("bench.echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err != nil {
		t.Fatal(err)
	}
	sink, err := b.Subscribe("bench.sink", func(*nats.Msg) { got.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*nats.Subscription{echo, sink} {
		if err := s.SetPendingLimits(-1, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	payload := []byte(strings.Repeat("x", 100))
	for deadline := time.Now().Add(30 * time.Second); ; { // until the route knows of it
		if _, err := a.Request("bench.echo", payload, time.Second); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	out = append(out, round(t, "plain nats.go", "call", func() error {
		_, err := a.Request("bench.echo", payload, 10*time.Second)
		return err
	}))
	for _, s := range sizes {
		payload := make([]byte, s.bytes)
		got.Store(0)
		sent, window := int64(0), min(16384, int64(8<<20/s.bytes)) // as regent's: NATS by itself drops what is read too slowly
		out = append(out, stream(t, "plain nats.go", s.bytes, s.n, func() error {
			begin := time.Now()
			for sent++; sent-got.Load() > window; time.Sleep(20 * time.Microsecond) {
				if time.Since(begin) > lostAfter {
					return fmt.Errorf("%d of %d have arrived", got.Load(), sent)
				}
			}
			return a.Publish("bench.sink", payload)
		}, func() error {
			for deadline := time.Now().Add(lostAfter); got.Load() < int64(s.n); time.Sleep(100 * time.Microsecond) {
				if time.Now().After(deadline) {
					return fmt.Errorf("%d of %d have arrived", got.Load(), s.n)
				}
			}
			return nil
		}))
	}
	return out
}

// benchServer answers calls with what they hold, or with the number of
// messages since the last time.
func benchServer(ctx context.Context, self *proc.Self) error {
	if err := self.Register("server"); err != nil {
		return err
	}
	got := 0
	for {
		m, err := self.Receive(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case proc.Msg:
			got++
		case *proc.Request:
			if len(m.Data) == 0 {
				m.Reply(got)
				got = 0
			} else {
				m.Reply(m.Payload)
			}
		}
	}
}

func regentSeries(t *testing.T, servers []*embedded.Server) (out []measured) {
	ctx, cancel := context.WithCancel(t.Context())
	var stops []func() // the next series has the same names
	defer func() {
		cancel()
		for _, stop := range stops {
			stop()
		}
	}()
	system := func(i int) *proc.System {
		name := manager.NodeName(fmt.Sprintf("n%d@test", i+1))
		nc := connect(t, servers[i], string(name))
		m := bus.NewMessenger(nc, "bench", name)
		s, err := proc.New(proc.Options{Node: name, Life: proc.Life(nats.NewInbox()[7:]), Transport: m, Mailbox: proc.Mailbox{Messages: 1 << 20, Bytes: 1 << 30}})
		if err != nil {
			t.Fatal(err)
		}
		stop, err := m.Listen(s.Receive)
		if err != nil {
			t.Fatal(err)
		}
		pings, err := bus.New(asConn(t, servers[i]), "bench", name, "x").AnswerPings()
		if err != nil {
			t.Fatal(err)
		}
		running := make(chan struct{})
		go func() { s.Run(ctx); close(running) }()
		stops = append(stops, func() { <-running; stop(); pings() })
		return s
	}
	a, b := system(0), system(1)
	pid, err := b.Go(benchServer)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	payload := proc.Raw(strings.Repeat("x", 100))
	for deadline := time.Now().Add(30 * time.Second); a.Connect(ctx, pid.Node) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("not connected")
		}
	}
	_, err = a.Go(func(ctx context.Context, self *proc.Self) error {
		defer close(done)
		out = append(out,
			round(t, "regent", "call", func() error { _, err := proc.CallPayload(ctx, self, pid, payload); return err }),
			round(t, "regent", "apply", func() error {
				_, err := proc.ApplyPayload(ctx, self, pid.Node, proc.FunctionEcho, payload)
				return err
			}),
			round(t, "regent", "spawn", func() error { _, err := self.Spawn(ctx, pid.Node, proc.FunctionEcho, payload); return err }))
		for _, s := range sizes {
			payload := proc.Raw(make([]byte, s.bytes))
			out = append(out, stream(t, "regent", s.bytes, s.n, func() error { return self.Send(ctx, pid, payload) }, func() error {
				got, err := proc.Call[int](ctx, self, pid, proc.Raw(nil))
				if err == nil && got != s.n {
					err = fmt.Errorf("%d of %d have arrived", got, s.n)
				}
				return err
			}))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-done
	return out
}

func asConn(t *testing.T, s *embedded.Server) *bus.Conn {
	t.Helper()
	login, err := s.ConnOptions(cred.App, "pings")
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Dial(t.Context(), bus.Options{URLs: []string{s.ClientURL()}, Login: login, Name: "pings"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// erlangSeries is the same between two Erlang nodes; nothing where it is not
// installed.
func erlangSeries(t *testing.T) (out []measured) {
	if _, err := exec.LookPath("erl"); err != nil {
		t.Log("SKIPPED in part: no erl on PATH: nothing to compare with")
		return nil
	}
	dir := t.TempDir()
	free := strconv.Itoa(port.Free(t, 1)[0])
	env := append(os.Environ(), "HOME="+dir, "ERL_EPMD_PORT="+free, "ERL_EPMD_ADDRESS=127.0.0.1")
	if out, err := exec.Command("erlc", "-o", dir, "erlang/messages.erl").CombinedOutput(); err != nil {
		t.Fatalf("erlc: %v\n%s", err, out)
	}
	begin := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env, cmd.Dir = env, dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	end := func(cmd *exec.Cmd) { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	epmd := begin("epmd", "-port", free, "-address", "127.0.0.1")
	defer end(epmd)
	far := begin("erl", "-noinput", "-name", "b@127.0.0.1", "-setcookie", "bench", "-pa", dir, "-eval", "messages:serve()")
	defer end(far)
	file := filepath.Join(dir, "results")
	for deadline := time.Now().Add(time.Minute); len(out) < 6; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the Erlang nodes don't come to a result")
		}
		near := begin("erl", "-noinput", "-name", "a@127.0.0.1", "-setcookie", "bench", "-pa", dir,
			"-eval", fmt.Sprintf("messages:run(['b@127.0.0.1', %q])", file), "-s", "erlang", "halt")
		_ = near.Wait() // while b has not begun, it fails
		out = erlangResults(file)
	}
	return out
}

func erlangResults(file string) (out []measured) {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		var numbers []int64
		for _, w := range words[min(1, len(words)):] {
			n, err := strconv.ParseInt(w, 10, 64)
			if err != nil {
				return nil
			}
			numbers = append(numbers, n)
		}
		switch len(numbers) {
		case 4:
			out = append(out, measured{way: "Erlang/OTP", what: words[0], n: int(numbers[0]), times: []time.Duration{time.Duration(numbers[1]), time.Duration(numbers[2]), time.Duration(numbers[3])}})
		case 2:
			out = append(out, measured{way: "Erlang/OTP", what: words[0], n: int(numbers[0]), perSecond: float64(numbers[1])})
		}
	}
	return out
}

// messageTable has a line for each kind and way: of several series the median.
func messageTable(all []measured) *table {
	tab := &table{name: "messages", head: []string{"what", "way", "median µs", "least µs", "messages/s", "allocations", "to nats.go", "to Erlang"}}
	for _, what := range []string{"call", "apply", "spawn", "one-way-100", "one-way-1000", "one-way-10000"} {
		for _, way := range []string{"regent", "plain nats.go", "Erlang/OTP"} {
			if cells := messageRow(all, what, way); cells != nil {
				tab.rows = append(tab.rows, append(cells, ratio(all, what, way, "plain nats.go"), ratio(all, what, way, "Erlang/OTP")))
			}
		}
	}
	return tab
}

// ratio is how many times as fast as another way regent is.
func ratio(all []measured, what, way, other string) string {
	ours, theirs := speed(all, what, way), speed(all, what, other)
	if way != "regent" || ours == 0 || theirs == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", ours/theirs)
}

// speed is the median over the series: messages, or median round trips, in a
// second.
func speed(all []measured, what, way string) float64 {
	var list []float64
	for _, m := range all {
		switch {
		case m.what != what || m.way != way:
		case m.perSecond > 0:
			list = append(list, m.perSecond)
		case len(m.times) > 0:
			slices.Sort(m.times)
			list = append(list, 1/m.times[len(m.times)/2].Seconds())
		}
	}
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func messageRow(all []measured, what, way string) []string {
	var medians, least []time.Duration
	var rates, allocs []float64
	for _, m := range all {
		if m.what != what || m.way != way {
			continue
		}
		if len(m.times) > 0 {
			slices.Sort(m.times)
			medians, least = append(medians, m.times[len(m.times)/2]), append(least, m.times[0])
		}
		if m.perSecond > 0 {
			rates = append(rates, m.perSecond)
		}
		if m.allocsKnown {
			allocs = append(allocs, m.allocs)
		}
	}
	if len(medians)+len(rates) == 0 {
		return nil
	}
	us := func(list []time.Duration) string {
		if len(list) == 0 {
			return ""
		}
		slices.Sort(list)
		return fmt.Sprintf("%.1f", float64(list[len(list)/2].Nanoseconds())/1000)
	}
	number := func(format string, list []float64) string {
		if len(list) == 0 {
			return ""
		}
		slices.Sort(list)
		return fmt.Sprintf(format, list[len(list)/2])
	}
	return []string{what, way, us(medians), us(least), number("%.0f", rates), number("%.1f", allocs)}
}
