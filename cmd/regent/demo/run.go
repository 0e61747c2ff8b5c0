package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// Options of a demo.
type Options struct {
	Executable string // this program
	Fast       bool   // with a shorter timeout of the app
	Out        io.Writer
}

// ErrInterrupted is returned when the demo was ended from outside.
var ErrInterrupted = errors.New("interrupted")

// tailLines of each node's log are shown when something was not observed.
const tailLines = 12

// Run is the whole demo. It returns nil only if every step was observed. When
// it returns, nothing of it is left.
func Run(ctx context.Context, o Options) error {
	c, err := newCluster(o.Executable, o.Fast)
	if err != nil {
		return err
	}
	defer c.close()
	d := &rehearsal{observer: &observer{out: o.Out, begun: time.Now(), cluster: c}}
	defer func() {
		if d.nc != nil {
			d.nc.Close()
		}
	}()
	d.introduce(o.Fast)
	for i, s := range steps {
		fmt.Fprintf(o.Out, "\n%d. %s\n", i+1, s.title)
		if err := s.run(d, ctx); err != nil {
			if ctx.Err() != nil {
				return ErrInterrupted
			}
			d.showLogs()
			return err
		}
	}
	fmt.Fprintf(o.Out, "\nEverything was seen, in %.1f s.\n", time.Since(d.begun).Seconds())
	return nil
}

func (d *rehearsal) introduce(fast bool) {
	fmt.Fprintf(d.out, `Three nodes on this machine, in %s, with the files of examples/classic:
  {distributed, [{myapp, %d, [node1@lxw, {node2@lxw, node3@lxw}]}]}
myapp writes down when it is started, that it lives, and when it is stopped.
What is said below was seen in that log and in the ownership record in NATS.
`, d.cluster.dir, d.cluster.timeout.Milliseconds())
	if fast {
		fmt.Fprintf(d.out, "--fast: the timeout is %v here; in examples/classic it is 5s.\n", d.cluster.timeout)
	}
}

func (d *rehearsal) showLogs() {
	for _, n := range allNodes {
		if d.cluster.nodes[n] == nil {
			continue
		}
		fmt.Fprintf(d.out, "\nThe end of the log of %s:\n", n)
		for _, line := range d.cluster.tail(n, tailLines) {
			fmt.Fprintln(d.out, " ", line)
		}
	}
}

func named(n node.Name) func(status.Node) bool {
	return func(s status.Node) bool { return s.Name == n }
}
