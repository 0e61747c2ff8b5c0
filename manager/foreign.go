package manager

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/policy/config"
)

// Pauses between attempts to reach a foreign cluster, which may be down for
// long or not have begun.
const (
	foreignEvery    = time.Second
	foreignEveryMax = 30 * time.Second
	foreignAttempt  = 10 * time.Second
)

// talkToForeign calls SetCookie for each entry of cookies in the configuration,
// until it succeeds.
func (n *Node) talkToForeign(ctx context.Context) {
	var trying sync.WaitGroup
	for _, f := range n.opts.Config.Cookies {
		trying.Go(func() { n.talkTo(ctx, f) })
	}
	trying.Wait()
}

func (n *Node) talkTo(ctx context.Context, f config.Foreign) {
	said := ""
	for pause := foreignEvery; ; pause = min(2*pause, foreignEveryMax) {
		err := n.setCookieOf(ctx, f)
		if err == nil {
			n.log.Info("messages to a node of another cluster", "node", f.Node)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != said {
			said = text
			n.log.Warn("no way yet to a node of another cluster", "node", f.Node, "cause", err)
		}
		if errors.Is(err, ErrForeign) {
			return // no time mends it
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (n *Node) setCookieOf(ctx context.Context, f config.Foreign) error {
	cookie, err := cred.ReadCookie(f.File)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, foreignAttempt)
	defer cancel()
	return n.SetCookie(ctx, Foreign{Node: f.Node, Cookie: cookie, Cluster: f.Cluster, Server: f.Server})
}
