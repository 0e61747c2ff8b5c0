//go:build linux

package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/tests/scenario"
)

// kind is what the nodes of Erlang and of regent do not have in common.
type kind interface {
	// command is that of a node, in a directory of its own.
	command(c *cluster, n string, boot int) (*exec.Cmd, error)
	// ended says how a node ended that was not killed.
	ended(code int, output string) string
	cut(c *cluster, n string)
	heal(c *cluster, n string)
	unlink(c *cluster, n, o string)
	normal(result string) string // as the scenarios write it
	close(c *cluster)
}

// cluster is the world of one scenario, made of processes.
type cluster struct {
	kind
	s   *scenario.Scenario
	dir string

	mu     sync.Mutex
	events []scenario.Event
	nodes  map[string]*proc
	boots  int
	cuts   map[string]bool
	odd    error // a boot that went wrong for a reason beyond the scenario
	// starved: some process of this cluster did not get the processor for so
	// long that others must have taken it for dead.
	starved bool
}

// proc is the process of a node.
type proc struct {
	c      *cluster
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	killed bool
	up     bool
	done   chan struct{}
	want   []string // nodes that it must have met when it is up; Erlang only
	output strings.Builder
}

// errOdd is wrapped by what makes the whole scenario be played again.
var errOdd = errors.New("the cluster did not come up whole")

// Do implements scenario.World.
func (c *cluster) Do(st scenario.Statement) error {
	if st.Verb == scenario.Up {
		return c.up(st.Nodes)
	}
	for _, n := range st.Nodes {
		switch st.Verb {
		case scenario.Kill:
			c.kill(n)
		case scenario.Cut:
			c.cut(c, n)
			c.setCut(n, true)
		case scenario.Heal:
			c.setCut(n, false)
			c.heal(c, n)
		case scenario.Freeze:
			c.signal(n, syscall.SIGSTOP)
		case scenario.Thaw:
			c.signal(n, syscall.SIGCONT)
		case scenario.Unlink:
			c.unlink(c, st.Nodes[0], st.Nodes[1])
			return nil
		case scenario.Down:
			c.tell(n, "down")
		case scenario.ExitApp:
			c.tell(n, "exit %s %s", st.App, st.Word)
		case scenario.Fail, scenario.Mend:
			c.tell(n, "%s %s", st.Verb, st.App)
		case scenario.Slow:
			c.tell(n, "slow %s %s %d", st.Word, st.App, st.Time.Milliseconds())
		default:
			return fmt.Errorf("can't %s", st.Verb)
		}
	}
	return nil
}

// Call implements scenario.World.
func (c *cluster) Call(number int, st scenario.Statement, n string) error {
	c.tell(n, "call %d %s %s %s", number, st.Verb, st.App, st.Word)
	return nil
}

func (c *cluster) setCut(n string, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts[n] = is
}

// up boots nodes at once.
func (c *cluster) up(names []string) error {
	var all []*proc
	c.mu.Lock()
	for _, n := range names {
		p := &proc{c: c, name: n, done: make(chan struct{})}
		c.nodes[n] = p
		all = append(all, p)
	}
	for _, p := range all {
		p.want = c.company(p.name)
	}
	c.mu.Unlock()
	for _, p := range all {
		if err := p.begin(); err != nil {
			return err
		}
	}
	return nil
}

// company are the other nodes that are there and not cut off. With c.mu held.
func (c *cluster) company(n string) (others []string) {
	for _, o := range c.s.Nodes {
		if p := c.nodes[o]; o != n && p != nil && !p.over() && !c.cuts[o] {
			others = append(others, o)
		}
	}
	return others
}

func (p *proc) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *proc) begin() error {
	p.c.mu.Lock()
	p.c.boots++
	boot := p.c.boots
	p.c.mu.Unlock()
	cmd, err := p.c.command(p.c, p.name, boot)
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	// The pipe is read to its end before Wait: nothing that the node said is lost.
	out, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = out.Close()
		return err
	}
	p.c.mu.Lock()
	p.cmd, p.stdin = cmd, in
	p.c.mu.Unlock()
	go p.live(out)
	return nil
}

// live reads what a node says until it has ended.
func (p *proc) live(out *os.File) {
	ended := make(chan struct{})
	go func() {
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				p.heard(strings.TrimSuffix(line, "\n"))
			}
			if err != nil {
				close(ended)
				return
			}
		}
	}()
	_ = p.cmd.Wait() // how it ended is in its state
	// Whatever it started may still have the pipe; its own words are all in it.
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
	_ = out.Close()
	p.c.mu.Lock()
	how := scenario.Killed
	if !p.killed {
		how = p.c.ended(p.cmd.ProcessState.ExitCode(), p.output.String())
	}
	p.c.events = append(p.c.events, scenario.Event{At: now(), Kind: scenario.NodeEnds, Node: p.name, Word: how})
	close(p.done)
	p.c.mu.Unlock()
}

func now() time.Duration { return time.Duration(time.Now().UnixNano()) }

// heard takes in a line of a node.
func (p *proc) heard(line string) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	words, ok := strings.CutPrefix(line, "@ ")
	if !ok {
		p.output.WriteString(line + "\n")
		return
	}
	w := strings.Fields(words)
	at, err := strconv.ParseInt(w[0], 10, 64)
	if err != nil || len(w) < 2 {
		p.c.odd = fmt.Errorf("%s says %q", p.name, line)
		return
	}
	e := scenario.Event{At: time.Duration(at), Kind: scenario.EventKind(w[1]), Node: p.name}
	switch rest := w[2:]; e.Kind {
	case "known":
		p.known(rest)
		return
	case "starved":
		p.c.starved = true
		return
	case scenario.Reply:
		e.Call, err = strconv.Atoi(rest[0])
		e.Word = p.c.normal(strings.Join(rest[1:], " "))
	case scenario.AppStart:
		e.App, e.Word = rest[0], rest[1]
		if len(rest) > 2 {
			e.From = rest[2]
		}
	case scenario.AppPhase:
		e.App, e.Word = rest[0], strings.Join(rest[1:], " ")
	case scenario.NodeUp:
		p.up = true
	default:
		e.App = rest[0]
	}
	if err != nil {
		p.c.odd = fmt.Errorf("%s says %q", p.name, line)
		return
	}
	p.c.events = append(p.c.events, e)
}

func (c *cluster) tell(n, format string, args ...any) {
	c.mu.Lock()
	p := c.nodes[n]
	c.mu.Unlock()
	if p == nil || p.stdin == nil {
		return
	}
	_, _ = fmt.Fprintf(p.stdin, format+"\n", args...) // a node that has ended hears nothing
}

func (c *cluster) kill(n string) {
	c.mu.Lock()
	p := c.nodes[n]
	if p != nil {
		p.killed = !p.over()
	}
	c.mu.Unlock()
	if p != nil && p.cmd != nil {
		_ = p.cmd.Process.Kill()
	}
}

func (c *cluster) signal(n string, s syscall.Signal) {
	c.mu.Lock()
	p := c.nodes[n]
	c.mu.Unlock()
	if p != nil && p.cmd != nil {
		_ = p.cmd.Process.Signal(s) // it may have ended
	}
}

// Now implements scenario.World.
func (c *cluster) Now() time.Duration { return now() }

// Pass implements scenario.World.
func (c *cluster) Pass(d time.Duration) error {
	time.Sleep(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.odd
}

// Events implements scenario.World.
func (c *cluster) Events() []scenario.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.events
	c.events = nil
	return out
}

// Calm implements scenario.World.
func (c *cluster) Calm() time.Duration { return 400 * time.Millisecond }

// Patience implements scenario.World.
func (c *cluster) Patience() time.Duration { return 30 * time.Second }

// Close implements scenario.World.
func (c *cluster) Close() {
	c.mu.Lock()
	var all []*proc
	for _, p := range c.nodes {
		all = append(all, p)
	}
	c.mu.Unlock()
	for _, p := range all {
		c.kill(p.name)
	}
	for _, p := range all {
		if p.cmd != nil {
			<-p.done
			_ = p.stdin.Close()
		}
	}
	c.close(c)
}

// excuse says why a play that failed says nothing about its scenario; empty if
// it does. Under load an Erlang node now and then does not find the others at
// boot.
func (c *cluster) excuse() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.odd != nil:
		return c.odd.Error()
	case c.starved:
		return "processes did not get the processor in time"
	}
	for _, p := range c.nodes {
		if !p.up && !p.over() && c.s.Barrier == nil {
			return p.name + " did not come up"
		}
	}
	return ""
}

// log is what the nodes printed.
func (c *cluster) log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, n := range c.s.Nodes {
		if p := c.nodes[n]; p != nil {
			text := p.output.String()
			fmt.Fprintf(&b, "--- %s\n%s\n", n, text[max(0, len(text)-4000):])
		}
	}
	return b.String()
}
