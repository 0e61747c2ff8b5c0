// Gonode is a real node whose apps are those of a scenario: one command a line
// on standard input, one event a line (with @ in front) on standard output. The
// words are those of the Erlang module beside it.
//
//	gonode NAME CLUSTER CONFIG DATA URL [new]
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/scenario"
)

func main() {
	manager.Main()
	if len(os.Args) < 6 {
		fmt.Fprintln(os.Stderr, "gonode NAME CLUSTER CONFIG DATA URL [new]")
		os.Exit(manager.ExitConfig)
	}
	exit := run(os.Args[1:])
	fmt.Fprintf(os.Stderr, "ends with %d: %s\n", exit.Code, exit.Reason)
	os.Exit(exit.Code)
}

func run(args []string) manager.Exit {
	cookie, err := manager.NewCookie("the cookie of all scenarios 0123456789")
	if err != nil {
		return manager.Exit{Code: manager.ExitConfig, Reason: err.Error()}
	}
	cfg, err := manager.LoadConfig(args[2])
	if err != nil {
		return manager.Exit{Code: manager.ExitConfig, Reason: err.Error()}
	}
	c := &control{settings: map[string]*setting{}}
	o := manager.Options{
		Name: args[0], Cluster: args[1], Config: cfg, DataDir: args[3], Server: args[4], NewCluster: len(args) > 5, Cookie: cookie,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Apps: map[string]func() manager.Application{},
	}
	for _, e := range cfg.Apps {
		s := &setting{}
		c.settings[string(e.Name)] = s
		o.Apps[string(e.Name)] = func() manager.Application { return &app{name: string(e.Name), setting: s} }
	}
	n, err := manager.New(o)
	if err != nil {
		return manager.Exit{Code: manager.ExitConfig, Reason: err.Error()}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	c.node, c.config, c.stop = n, cfg, stop
	go c.read()
	go c.up(ctx)
	go watch()
	return n.Run(ctx)
}

var stdout sync.Mutex

// say writes an event.
func say(format string, args ...any) {
	stdout.Lock()
	defer stdout.Unlock()
	_, _ = fmt.Fprintf(os.Stdout, "@ %d %s\n", time.Now().UnixNano(), fmt.Sprintf(format, args...))
}

// control is what the commands act on.
type control struct {
	node     *manager.Node
	config   *manager.Config
	stop     context.CancelFunc
	settings map[string]*setting
}

// setting is how instances of an app behave.
type setting struct {
	mu          sync.Mutex
	fails       bool
	start, stop time.Duration
	running     *app
}

// up tells when the node is through its barrier.
func (c *control) up(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.node.Connected():
	}
	for c.node.View().Phase != machine.BeatUp {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	say("up")
}

// starvation is what others take for death: they miss three heartbeats.
const starvation = 300 * time.Millisecond

// watch tells when this process did not get the processor in time.
func watch() {
	for last := time.Now(); ; last = time.Now() {
		time.Sleep(starvation / 3)
		if time.Since(last) > starvation+starvation/3 {
			say("starved")
		}
	}
}

func (c *control) read() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 0 {
			c.do(words)
		}
	}
	os.Exit(1) // whoever started it has gone
}

func (c *control) do(words []string) {
	switch words[0] {
	case "down":
		c.stop()
	case "call":
		go c.call(words[1], words[2], words[3], words[4:])
	case "slow", "fail", "mend", "exit":
		c.set(words)
	default:
		fmt.Fprintf(os.Stderr, "unknown command %q\n", words)
		os.Exit(1)
	}
}

func (c *control) set(words []string) {
	at := map[bool]int{true: 2, false: 1}[words[0] == "slow"]
	s := c.settings[words[at]]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch words[0] {
	case "fail", "mend":
		s.fails = words[0] == "fail"
	case "exit":
		if s.running != nil {
			s.running.end <- words[2]
		}
	case "slow":
		ms, _ := strconv.Atoi(words[3])
		if d := time.Duration(ms) * time.Millisecond; words[1] == "start" {
			s.start = d
		} else {
			s.stop = d
		}
	}
}

func (c *control) call(number, verb, name string, args []string) {
	a, word := manager.App(name), ""
	if len(args) > 0 {
		word = args[0]
	}
	var err error
	ctx := context.Background()
	switch verb {
	case "start":
		err = c.node.StartApp(ctx, a, manager.RestartType(word))
	case "stop":
		err = c.node.StopApp(ctx, a)
	case "takeover":
		err = c.node.Takeover(ctx, a, manager.RestartType(word))
	case "permit":
		err = c.node.Permit(ctx, a, word == "true")
	case "load":
		err = c.node.LoadDistributed(ctx, a, distribution(args))
	case "apply":
		_, err = c.node.ApplyConfig(ctx, c.with(a, distribution(args)))
	}
	say("reply %s %s", number, result(err, name, word))
}

// distribution reads a Timeout in milliseconds and a list, equals with commas
// between them.
func distribution(words []string) (d manager.Distribution) {
	ms, _ := strconv.Atoi(words[0])
	d.Timeout = time.Duration(ms) * time.Millisecond
	for _, w := range words[1:] {
		var group []manager.NodeName
		for n := range strings.SplitSeq(w, ",") {
			group = append(group, manager.NodeName(n+"@h"))
		}
		d.Nodes = append(d.Nodes, group)
	}
	return d
}

// with is the configuration with another distribution of one app.
func (c *control) with(a manager.App, d manager.Distribution) *manager.Config {
	cfg := *c.config
	cfg.Specs = policy.PutSpec(slices.Clone(cfg.Specs), cfg.Distribute(a, policy.Timeout(d.Timeout), d.Nodes))
	return &cfg
}

func result(err error, app, word string) string {
	var refusal *machine.Refusal
	switch {
	case err == nil:
		return scenario.OK
	case errors.As(err, &refusal):
		return scenario.Term(refusal, app, word)
	}
	return fmt.Sprintf("{error,%q}", err)
}

// app is one instance.
type app struct {
	name string
	*setting
	end  chan string
	prep bool // tell of prep_stop
}

var errBoom = errors.New(scenario.Boom)

func (a *app) Start(ctx context.Context, s manager.Start) error {
	a.prep = strings.Contains(string(s.Args), "prep")
	say("start %s %s %s", a.name, s.Kind, s.From.Base())
	a.mu.Lock()
	slow, fails := a.start, a.fails
	a.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
	}
	if fails {
		say("failed %s", a.name)
		return errBoom
	}
	a.end = make(chan string, 1)
	a.mu.Lock()
	a.running = a
	a.mu.Unlock()
	say("started %s", a.name)
	return nil
}

func (a *app) StartPhase(_ context.Context, p manager.Phase, s manager.Start) error {
	say("phase %s %s %s %s", a.name, p, s.Kind, s.From.Base())
	return nil
}

// Included implements manager.Includer: the parts of an app do nothing but tell.
func (a *app) Included(manager.App) manager.PhaseStarter { return a }

func (a *app) PrepStop(context.Context) {
	if a.prep {
		say("prep %s", a.name)
	}
}

func (a *app) Run(ctx context.Context) error {
	var err error
	select {
	case how := <-a.end:
		if how == "crash" {
			err = errBoom
		}
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), manager.ErrAppStopped) {
			a.mu.Lock()
			slow := a.stop
			a.mu.Unlock()
			time.Sleep(slow)
		}
	}
	a.mu.Lock()
	a.running = nil
	a.mu.Unlock()
	say("end %s", a.name)
	return err
}
