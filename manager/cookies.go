package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/bus/service"
)

// Errors of TurnCookie, beside ErrNotRunning.
var (
	// ErrNoCookie: this machine has no cookie with that fingerprint.
	ErrNoCookie = errors.New("no such cookie here")
	// ErrCookieStep: what is asked for would cut this node off from others that
	// are a step behind.
	ErrCookieStep = errors.New("not a step from the cookies of now")
	// ErrCookieKey: a server of an external NATS does not let this node in by the key
	// of that cookie, or not to the bucket.
	ErrCookieKey = errors.New("an external NATS server does not serve the new cookie's key")
	// ErrCookieDropped is wrapped when a node is started with a cookie that it
	// was told to drop.
	ErrCookieDropped = errors.New("the cookie was replaced by another one")
)

const hintCookie = "all nodes of a cluster need the same cookie file; if the cookie was replaced while this node was away, put the new one into its file"

// CookieState says by which cookies a node goes: fingerprints.
type CookieState struct {
	Use  string // shown to others
	Also string // accepted from others too; "": none
}

// accepts are the fingerprints of both.
func (c CookieState) accepts() []string {
	if c.Also == "" {
		return []string{c.Use}
	}
	return []string{c.Use, c.Also}
}

// step reports whether others that go by c still meet one that goes by next: one
// cookie more, one less, or the other of the two shown.
func (c CookieState) step(next CookieState) bool {
	switch {
	case c.Use == next.Use:
		return c.Also == "" || next.Also == "" || c.Also == next.Also
	case c.Also == next.Use:
		return next.Also == c.Use
	}
	return false
}

// cookies are those that a running node goes by.
type cookies struct {
	turning sync.Mutex // one turn at a time; guards what follows
	own     Cookie
	also    Cookie // zero: none
	kept    cookieFile
}

func (c *cookies) state() CookieState {
	s := CookieState{Use: c.own.Fingerprint()}
	if !c.also.IsZero() {
		s.Also = c.also.Fingerprint()
	}
	return s
}

// cookieFile is what a node remembers of its cookies over restarts, since the
// files are its operator's: which one of two it showed last, and which were
// dropped. There is no secret in it.
type cookieFile struct {
	Version int      `json:"v"`
	Use     string   `json:"use"`
	Also    string   `json:"also,omitempty"`
	Dropped []string `json:"dropped,omitempty"`
}

const (
	cookieFileName    = "cookie.json"
	cookieFileVersion = 1
	droppedMax        = 16 // the last ones
)

func loadCookieFile(dir string) (cookieFile, error) {
	path := filepath.Join(dir, cookieFileName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cookieFile{}, nil
	}
	var f cookieFile
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err == nil && f.Version != cookieFileVersion {
		err = fmt.Errorf("version %d, expected %d", f.Version, cookieFileVersion)
	}
	if err != nil {
		return cookieFile{}, fmt.Errorf("%s can't be used: %w; without it the node goes by its cookie files alone", path, err)
	}
	return f, nil
}

func (f cookieFile) save(dir string) error {
	f.Version = cookieFileVersion
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, cookieFileName)
	if err := writeSynced(path+".next", append(raw, '\n')); err != nil {
		return fmt.Errorf("write cookies: %w", err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		return fmt.Errorf("write cookies: %w", err)
	}
	return syncDir(dir)
}

// turned is f after a turn.
func (f cookieFile) turned(before, now CookieState) cookieFile {
	next := cookieFile{Use: now.Use, Also: now.Also, Dropped: slices.Clone(f.Dropped)}
	for _, fp := range before.accepts() {
		if !slices.Contains(now.accepts(), fp) {
			next.Dropped = append(next.Dropped, fp)
		}
	}
	next.Dropped = slices.DeleteFunc(next.Dropped, func(fp string) bool { return slices.Contains(now.accepts(), fp) })
	next.Dropped = next.Dropped[max(0, len(next.Dropped)-droppedMax):]
	return next
}

// firstCookies are those that the node begins with: what it was given, as the
// last turn of a former life left it.
func (n *Node) firstCookies(dir string) (*cred.Authority, error) {
	c := &n.cookies
	c.turning.Lock()
	defer c.turning.Unlock()
	c.own, c.also = n.opts.Cookie, n.opts.Also
	if c.own.IsZero() {
		return nil, fmt.Errorf("%w: %w", ErrOptions, cred.ErrCookieEmpty)
	}
	if c.also.Equal(c.own) {
		c.also = Cookie{}
	}
	if err := c.remember(dir); err != nil {
		return nil, err
	}
	a, err := n.authorityOf(c.own, c.also)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if !c.also.IsZero() {
		n.log.Info("two cookies are accepted", "own", a.Fingerprint(), "also", c.also.Fingerprint())
	}
	return a, nil
}

// remember puts the cookies in the order of the last turn, if that was amid a
// rotation between these two, and leaves out what was dropped.
func (c *cookies) remember(dir string) (err error) {
	if c.kept, err = loadCookieFile(dir); err != nil || c.kept.Use == "" {
		return err
	}
	dropped := func(k Cookie) bool { return !k.IsZero() && slices.Contains(c.kept.Dropped, k.Fingerprint()) }
	if dropped(c.also) {
		c.also = Cookie{}
	}
	if !c.also.IsZero() && (dropped(c.own) || c.state() == CookieState{Use: c.kept.Also, Also: c.kept.Use}) {
		c.own, c.also = c.also, c.own
	}
	if dropped(c.also) {
		c.also = Cookie{}
	}
	if dropped(c.own) {
		return fmt.Errorf("%w: this node was given %s, and goes by %s since", ErrCookieDropped, c.own.Fingerprint(), c.kept.Use)
	}
	return nil
}

// authorityOf is what follows from a cookie, or from both.
func (n *Node) authorityOf(own, also Cookie) (*cred.Authority, error) {
	a, err := cred.Derive(own, n.opts.Cluster)
	if err != nil || also.IsZero() {
		return a, err
	}
	other, err := cred.Derive(also, n.opts.Cluster)
	if err != nil {
		return nil, err
	}
	return a.Accepting(other), nil
}

// CookieState is by which cookies the node goes.
func (n *Node) CookieState() (CookieState, error) {
	if n.running() == nil {
		return CookieState{}, ErrNotRunning
	}
	n.cookies.turning.Lock()
	defer n.cookies.turning.Unlock()
	return n.cookies.state(), nil
}

// redialMax bounds how long a connection may take to be there again.
const redialMax = 10 * time.Second

// TurnCookie lets the running node go by other cookies, without stopping
// anything: want is a step from what it goes by. Cookies are looked up by
// fingerprint among those at hand (Options.Cookies). All that it returns before
// is kept over restarts. A cluster takes another cookie when all its nodes have
// taken each of the three steps before any takes the next: accept the new one,
// use it, drop the old one. See "regent cookie rotate".
//
// On an external NATS that lets nodes in by the cookie's key, the new key is tried
// with connections of its own before it is used: servers that don't know it leave
// the node as it is.
//
// Errors: ErrNoCookie, ErrCookieStep, ErrCookieKey, ErrNotRunning, and those of the
// disk and of an external NATS.
func (n *Node) TurnCookie(ctx context.Context, want CookieState) (CookieState, error) {
	n.mu.Lock()
	p := n.parts
	n.mu.Unlock()
	if p == nil {
		return CookieState{}, ErrNotRunning
	}
	c := &n.cookies
	c.turning.Lock()
	defer c.turning.Unlock()
	now := c.state()
	if !now.step(want) {
		return now, fmt.Errorf("%w: it uses %s and accepts %v; accept, use and drop are three steps", ErrCookieStep, now.Use, now.accepts())
	}
	own, err := n.atHand(want.Use)
	if err != nil {
		return now, err
	}
	also := Cookie{}
	if want.Also != "" {
		if also, err = n.atHand(want.Also); err != nil {
			return now, err
		}
	}
	turn := p.turn
	if n.plan.external {
		turn = p.turnOutside
	}
	if err := turn(ctx, turnOf{own: own, also: also, other: now.Use != want.Use, kept: c.kept.turned(now, want)}); err != nil {
		return now, err
	}
	c.own, c.also = own, also
	n.log.Info("cookies", "uses", want.Use, "accepts", want.accepts())
	return want, nil
}

// atHand is the cookie with a fingerprint: one of those that the node goes by, or
// of those that it can get.
func (n *Node) atHand(fingerprint string) (Cookie, error) {
	known := []Cookie{n.cookies.own, n.cookies.also}
	for _, c := range known {
		if !c.IsZero() && c.Fingerprint() == fingerprint {
			return c, nil
		}
	}
	if n.opts.Cookies == nil {
		return Cookie{}, fmt.Errorf("%w: %s", ErrNoCookie, fingerprint)
	}
	files, err := n.opts.Cookies()
	if err != nil {
		return Cookie{}, fmt.Errorf("%w: %s: %w", ErrNoCookie, fingerprint, err)
	}
	defer debug.FreeOSMemory() // stretching a cookie needs 64 MiB
	var have []string
	for _, c := range files {
		if c.Fingerprint() == fingerprint {
			return c, nil
		}
		have = append(have, c.Fingerprint())
	}
	return Cookie{}, fmt.Errorf("%w: %s; its files have %v", ErrNoCookie, fingerprint, have)
}

// turnOf is one step.
type turnOf struct {
	own, also Cookie
	other     bool       // another one is shown than before
	kept      cookieFile // what is remembered of it
}

// keep remembers a step.
func (p *parts) keep(f cookieFile) error {
	if err := f.save(p.dir); err != nil {
		return err
	}
	p.node.cookies.kept = f
	return nil
}

// turn lets server, connections, apps and warden go by other cookies. Each
// connection is made anew after the one before it is back; where nothing else is
// shown than before, they stay.
func (p *parts) turn(ctx context.Context, t turnOf) error {
	a, err := p.node.authorityOf(t.own, t.also)
	if err != nil {
		return err
	}
	reach, err := p.reach(t.own, t.also)
	if err != nil {
		return err
	}
	if err := p.keep(t.kept); err != nil {
		return err
	}
	if p.server != nil {
		if err := p.server.Turn(a); err != nil {
			return err
		}
	}
	p.node.ring.Turn(a)
	p.warden.Renew(reach)
	if err := p.logins.renew(p.identified()); err != nil {
		return err
	}
	if !t.other {
		return nil
	}
	return p.redial(ctx, redialMax)
}

// redial makes the connections anew, that of the lease last.
func (p *parts) redial(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, conn := range []*bus.Conn{p.messages, p.conn} {
		if err := conn.Redial(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cookieVerb is what the verb cookie asks for: a turn, or only to tell.
func (c control) cookie(ctx context.Context, raw json.RawMessage) (any, error) {
	var r service.CookieRequest
	if err := service.Decode(raw, &r); err != nil {
		return nil, err
	}
	state, err := c.node.CookieState()
	if err == nil && r.Use != "" {
		state, err = c.node.TurnCookie(ctx, CookieState{Use: r.Use, Also: r.Also})
	}
	for _, refusal := range []error{ErrNoCookie, ErrCookieStep, ErrCookieKey} {
		if errors.Is(err, refusal) {
			return nil, &service.Error{Code: service.CodeRefused, Description: err.Error()}
		}
	}
	if errors.Is(err, errNotOpen) {
		err = &service.Error{Code: service.CodeUnavailable, Description: err.Error()}
	}
	return service.CookieReply(state), err
}
