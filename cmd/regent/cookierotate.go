package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

func newCookieRotate() *cobra.Command {
	var p placeFlags
	var without []string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the cookie by another one, while nodes and apps run",
		Long: `Leads the nodes from one cookie to another. The new one must be on every machine,
beside the cookie file, with .next added to its name (or where a node's
--also-cookie-file says). Cookies don't cross the network: nodes are told
fingerprints, and read their files.

Three steps, each done by all nodes before the next begins: they accept the new
cookie too; they use it, with new certificates and connections; they drop the old
one, which is refused from then on. No node is restarted and no app stops or moves.

A node that can't do a step ends it all where it is, which harms nobody, and is
named; when it is mended, the command is given again and goes on. A node that is
down must come back first, or be left out with --without: it then needs the new
cookie in its cookie file before it is started.

On an external NATS whose servers know the cookie's key, put the new one's beside
it first: regent cookie creds --stanza, and reload them. A node tries it before it
uses it. Take the old one out at the end.

At the end put the new file in place of the old one on every machine.`,
		Example: `  regent cookie init --cookie-file ~/.regent.cookie.next    # and copy it to all machines
  regent cookie rotate
  mv ~/.regent.cookie.next ~/.regent.cookie                 # on all machines`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := p.rotation(without)
			if err != nil {
				return err
			}
			return r.run(cmd)
		},
	}
	p.target.bind(cmd)
	p.bindTimeout(cmd)
	cmd.Flags().StringArrayVar(&without, "without", nil, "go on without `NODE`, which is down; repeatable")
	return cmd
}

// rotation is one cookie being replaced by another.
type rotation struct {
	*placeFlags
	file, next string // of the cookies, as their owner knows them
	old, new   *cred.Authority
	without    []node.Name
	c          *client
	external   bool // the servers are somebody else's
}

func (p *placeFlags) rotation(without []string) (*rotation, error) {
	r := &rotation{placeFlags: p}
	for _, s := range without {
		n, err := node.Parse(s)
		if err != nil {
			return nil, usage("--without", "%w", err)
		}
		r.without = append(r.without, n)
	}
	s := CookieSource{File: p.cookieFile, Insecure: true} // its nodes decide what is too weak
	var err error
	if r.file, err = s.path(); err != nil {
		return nil, failed("cookie rotate", err)
	}
	if r.file == "" {
		return nil, usage("cookie rotate", "REGENT_COOKIE holds the cookie, so no file has the next one; name the cookie file with --cookie-file")
	}
	r.next = r.file + nextSuffix
	if r.old, r.new, err = p.authorities(); err != nil {
		return nil, failed("cookie rotate", err)
	}
	if r.new == nil {
		e := usage("cookie rotate", "there is no %s", r.next)
		e.Hint = "make it with: regent cookie init --cookie-file " + r.next + "; and copy it to all machines"
		return nil, e
	}
	if r.old.Fingerprint() == r.new.Fingerprint() {
		return nil, usage("cookie rotate", "%s and %s have the same cookie", r.file, r.next)
	}
	return r, nil
}

// step is one of three: where it leads to, and from where.
type step struct {
	name     string
	from, to service.CookieReply
	after    []service.CookieReply // these are further on already
}

func (r *rotation) steps() []step {
	o, n := r.old.Fingerprint(), r.new.Fingerprint()
	old, accept, use, done := service.CookieReply{Use: o}, service.CookieReply{Use: o, Also: n}, service.CookieReply{Use: n, Also: o}, service.CookieReply{Use: n}
	return []step{
		{"accept", old, accept, []service.CookieReply{accept, use, done}},
		{"use", accept, use, []service.CookieReply{use, done}},
		{"drop", use, done, []service.CookieReply{done}},
	}
}

func (r *rotation) run(cmd *cobra.Command) error {
	ctx, cancel := r.limit(cmd.Context())
	defer cancel()
	var err error
	if r.c, err = r.open(ctx, cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer r.c.close()
	out := cmd.OutOrStdout()
	for i, s := range r.steps() {
		nodes, err := r.nodes(ctx)
		if err != nil {
			return err
		}
		if err := r.all(ctx, nodes, s); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%d/3 %-6s  %s\n", i+1, s.name, joinNames(nodes)); err != nil {
			return failed("cookie rotate", err)
		}
		if s.name == "accept" {
			if err := r.change(ctx); err != nil {
				return err
			}
		}
	}
	return failed("cookie rotate", r.finish(out))
}

func (r *rotation) finish(out io.Writer) error {
	who := "the cookie with"
	if r.external {
		who = "a node whose cookie has" // whom else the servers let in is theirs to say
	}
	_, err := fmt.Fprintf(out, "%s fingerprint %s is refused now; on every machine: mv %s %s\n", who, r.old.Fingerprint(), r.next, r.file)
	if err == nil && r.c.keyed {
		_, err = fmt.Fprintf(out, "take its key out of the NATS servers' configuration: %s\n", r.old.PublicKey(cred.App))
	}
	return err
}

// change lets this command itself go by the new cookie.
func (r *rotation) change(ctx context.Context) error {
	if r.c.ring == nil || r.c.conn == nil {
		return nil
	}
	r.c.ring.Turn(r.new.Accepting(r.old))
	return failed("cookie rotate", r.c.conn.Redial(ctx))
}

// nodes are those that have to take part: all that are there. One that is not
// must have been named.
func (r *rotation) nodes(ctx context.Context) ([]node.Name, error) {
	doc, err := r.c.status(ctx)
	if err != nil {
		return nil, err
	}
	r.external = doc.Quorum.Mode == status.External
	var there, missing []node.Name
	for _, n := range doc.Nodes {
		switch n.State {
		case machine.NodeUp, machine.NodeSyncing:
			there = append(there, n.Name)
		case machine.NodeDown, machine.NodeSuspect:
			missing = append(missing, n.Name)
		}
	}
	found, err := r.c.svc.Discover(ctx)
	if err != nil {
		return nil, failed("cookie rotate", err)
	}
	for _, i := range found {
		if !slices.Contains(there, i.Node) {
			there = append(there, i.Node)
		}
	}
	missing = slices.DeleteFunc(missing, func(n node.Name) bool { return slices.Contains(r.without, n) || slices.Contains(there, n) })
	if len(missing) > 0 {
		return nil, &ExitError{
			Code: exitFailed, What: "cookie rotate", Err: fmt.Errorf("not there: %s", joinNames(missing)),
			Hint: "start it, or go on without it and give it the new cookie before it is started: --without " + string(missing[0]),
		}
	}
	slices.Sort(there)
	return there, nil
}

// all lets every node do one step, one after the other.
func (r *rotation) all(ctx context.Context, nodes []node.Name, s step) error {
	var bad []error
	for _, n := range nodes {
		if err := r.one(ctx, n, s); err != nil {
			bad = append(bad, err)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	err := joinExits(bad)
	if e, ok := errors.AsType[*ExitError](err); ok && e.Hint == "" {
		told := *e
		told.Hint = "mend it and give this command again: it goes on from here, and until then both cookies are accepted"
		if strings.Contains(err.Error(), manager.ErrCookieKey.Error()) {
			told.Hint = "put the new cookie's key beside the old one into the configuration of all its servers: regent cookie creds --stanza --cookie-file " +
				r.next + "; reload them, and give this command again: it goes on from here"
		}
		return &told
	}
	return err
}

func (r *rotation) one(ctx context.Context, n node.Name, s step) error {
	var now service.CookieReply
	if err := r.c.ask(ctx, n, service.VerbCookie, service.CookieRequest{}, &now); err != nil {
		return err
	}
	switch {
	case slices.Contains(s.after, now):
		return nil
	case now != s.from:
		return &ExitError{
			Code: exitFailed, What: fmt.Sprintf("cookie on %s", n), Err: fmt.Errorf("it uses %s%s, which is not a step of this rotation", now.Use, alsoText(now.Also)),
			Hint: fmt.Sprintf("it is from %s to %s: is the cookie file here that of the cluster?", r.old.Fingerprint(), r.new.Fingerprint()),
		}
	}
	return r.c.ask(ctx, n, service.VerbCookie, service.CookieRequest(s.to), &now)
}

func alsoText(fingerprint string) string {
	if fingerprint == "" {
		return ""
	}
	return " and accepts " + fingerprint
}
