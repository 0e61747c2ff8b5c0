package doctor

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/policy/node"
)

// Permissions asks a server for every right on the list of a role, without doing
// what the right is for: messages that nobody listens to, requests that say
// nothing, and a write to the bucket that demands another one. The
// connection is used for nothing else, and end ends it. self is the node whose
// rights they are; empty: those of the command line.
func Permissions(ctx context.Context, nc *nats.Conn, self node.Name, cluster bus.Cluster, need cred.Permissions, end func()) Check {
	const name = "permissions"
	who := "the command line"
	if self != "" {
		who = "a node"
	}
	var refused refusals
	closed := make(chan struct{})
	before := nc.ClosedHandler()
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused.add(err) })
	nc.SetClosedHandler(func(nc *nats.Conn) {
		close(closed)
		if before != nil {
			before(nc)
		}
	})
	rights := rightsOf(need, self, cluster)
	err := try(ctx, nc, rights)
	end()
	<-closed // its handlers run one after the other, this one last
	if err != nil {
		return failed(name, "see that the server is reached, then try again", "not tried: %v", err)
	}
	missing := refused.of(rights)
	if len(missing) == 0 {
		return ok(name, "all that %s needs: %d to publish, %d to subscribe", who, len(need.Publish), len(need.Subscribe))
	}
	return failed(name, "grant them to this user, in the server's configuration (permissions) or with nsc (edit user --allow-pub, --allow-sub); docs/deploy.md lists all",
		"%s lacks: %s", who, strings.Join(missing, ", "))
}

// right is one on the list, and subjects by which it is tried.
type right struct {
	publish bool
	subject string
	tries   []string
}

func (r *right) String() string {
	if r.publish {
		return "publish " + r.subject
	}
	return "subscribe " + r.subject
}

func rightsOf(need cred.Permissions, self node.Name, cluster bus.Cluster) (all []right) {
	who := "doctor"
	if self != "" {
		who = node.Token(string(self))
	}
	own := "regent." + string(cluster) + "."
	for _, s := range need.Publish {
		r := right{true, s, []string{example(s)}}
		if s == own+">" {
			r.tries = nil
			for _, kind := range []bus.Kind{bus.KindBeat, bus.KindCert, bus.KindAPI, bus.KindNode, bus.KindEvent} {
				r.tries = append(r.tries, own+string(kind)+"."+who+".doctor.doctor") // longer than any that somebody reads
			}
		}
		all = append(all, r)
	}
	for _, s := range need.Subscribe {
		r := right{false, s, []string{s}}
		if s == own+">" {
			r.tries = []string{own + string(bus.KindBeat) + ".*", own + string(bus.KindCert) + ".*",
				own + string(bus.KindAPI) + "." + who + ".*", own + string(bus.KindNode) + "." + who + ".>", own + string(bus.KindRecord) + ".>"}
		}
		all = append(all, r)
	}
	return all
}

// example is a subject that a list allows to publish to, and that means nothing.
func example(subject string) string {
	if prefix, all := strings.CutSuffix(subject, ">"); all {
		subject = prefix + "doctor"
	}
	return strings.ReplaceAll(subject, "*", "doctor")
}

// try asks for every right. The answer to the last flush comes after all
// refusals.
func try(ctx context.Context, nc *nats.Conn, rights []right) error {
	for _, r := range rights {
		for _, subject := range r.tries {
			if !r.publish {
				if _, err := nc.SubscribeSync(subject); err != nil {
					return err
				}
				continue
			}
			msg := nats.NewMsg(subject)
			msg.Data = []byte("{}") // what a request needs is missing
			msg.Header.Set(nats.ExpectedStreamHdr, "doctor")
			if err := nc.PublishMsg(msg); err != nil {
				return err
			}
		}
	}
	return nc.FlushWithContext(ctx)
}

// refusals are what a server has forbidden.
type refusals struct {
	mu  sync.Mutex
	all []string
}

func (r *refusals) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, strings.ToLower(err.Error()))
}

// of are the rights that were refused, with the subject that showed it where it
// is a part of what is on the list.
func (r *refusals) of(rights []right) (missing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, right := range rights {
		var tried []string
		for _, subject := range right.tries {
			if r.refuses(right.publish, subject) {
				tried = append(tried, subject)
			}
		}
		switch {
		case len(tried) == 0:
		case len(tried) == len(right.tries):
			missing = append(missing, right.String())
		default:
			missing = append(missing, right.String()+" (of it: "+strings.Join(tried, ", ")+")")
		}
	}
	return missing
}

func (r *refusals) refuses(publish bool, subject string) bool {
	said := map[bool]string{true: "publish", false: "subscription"}[publish] + ` to "` + strings.ToLower(subject) + `"`
	return slices.ContainsFunc(r.all, func(text string) bool { return strings.Contains(text, said) })
}
