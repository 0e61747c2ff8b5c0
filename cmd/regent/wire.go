package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/cmd/regent/nodefile"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
)

// runNode is the life of a node in the foreground. It returns nil when the node
// was told to stop, else an error with the exit code that the node ended with.
func runNode(ctx context.Context, o NodeOptions) error {
	cfg, err := o.Load()
	if err != nil {
		return err
	}
	cookie, err := o.Cookie.Load()
	if err != nil {
		return err
	}
	more, err := o.moreCookies()
	if err != nil {
		return err
	}
	also, err := more.load()
	if err != nil {
		return err
	}
	log := o.Logger()
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "at", w.Position.String(), "warning", w.Message)
	}
	unsetSecrets()
	node, err := manager.New(manager.Options{
		Name: string(o.Name), Cluster: string(o.Cluster), Config: cfg, Cookie: cookie, Also: also, Cookies: more.cookies, Hidden: o.Hidden,
		Server: o.External.url, Access: o.External.login, JetStream: o.External.apiPrefix, InboxPrefix: o.External.inbox, Warden: o.Warden,
		HTTP: o.HTTP, DataDir: o.DataDir, Listen: o.Listen, ClusterListen: o.ClusterListen, NewCluster: o.NewCluster,
		Start: startRequests(o.Start), Version: thisVersion().Version, Logger: log, Output: outputTo(o.Stdout),
	})
	if err != nil {
		return &ExitError{Code: exitUsage, What: "node " + string(o.Name), Err: err}
	}
	var beside sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	beside.Go(func() { announce(running, node, &o, log) })
	exit := node.Run(ctx)
	stop()
	beside.Wait()
	if exit.Code == exitOK {
		return nil
	}
	return &ExitError{Code: exit.Code, What: "node " + string(o.Name), Err: fmt.Errorf("%s", exit.Reason), Hint: exit.Hint}
}

// moreCookies is where cookies of a running node come from.
type moreCookies struct {
	own  CookieSource // a file, or given once and for all
	also CookieSource // a file; without one: none
	must bool         // it was named, and must be there
}

func (o *NodeOptions) moreCookies() (m moreCookies, err error) {
	path, err := o.Cookie.path()
	if err != nil {
		return m, cookieError(err)
	}
	m.own, m.also.Insecure = o.Cookie, o.Cookie.Insecure
	m.own.File = path // the environment is forgotten
	if m.must = o.AlsoCookie != ""; m.must {
		m.also.File = o.AlsoCookie
	} else if m.also.File, err = o.Cookie.nextFile(); err != nil {
		return m, cookieError(err)
	}
	return m, nil
}

// load is the second cookie; none is an error only if it was named.
func (m moreCookies) load() (cred.Cookie, error) {
	if m.also.File == "" {
		return cred.Cookie{}, nil
	}
	c, err := m.also.LoadExisting()
	if errors.Is(err, fs.ErrNotExist) && !m.must {
		return cred.Cookie{}, nil
	}
	return c, err
}

// cookies are those in the files now.
func (m moreCookies) cookies() (all []cred.Cookie, err error) {
	for _, s := range []CookieSource{m.own, m.also} {
		if s.File == "" {
			continue
		}
		c, err := s.LoadExisting()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// unsetSecrets keeps the cookie from whatever this process starts.
func unsetSecrets() {
	for _, name := range []string{"REGENT_COOKIE", "REGENT_COOKIE_FILE"} {
		_ = os.Unsetenv(name) // it fails for invalid names only
	}
}

// announce lets the client commands of this machine find the node while it
// runs, and does what -eval asks for.
func announce(ctx context.Context, n *manager.Node, o *NodeOptions, log *slog.Logger) {
	select {
	case <-n.Connected():
	case <-ctx.Done():
		return
	}
	remove, err := nodefile.Write(nodefile.File{Node: n.Name(), Cluster: string(o.Cluster), URL: n.URL()})
	if err != nil {
		log.Warn("clients of this machine must be told the server", "err", err)
	} else {
		defer remove()
	}
	runEval(ctx, evalAt{n}, o.Eval, func(c EvalCall, err error) {
		log.Error("eval", "expression", c.Text, "err", err)
		n.Note(machine.History{Type: "app_start_failed", App: c.App, Node: n.Name(), Detail: c.Text + ": " + err.Error()})
	})
	<-ctx.Done()
}

// evalAt lets expressions be evaluated at a node.
type evalAt struct{ *manager.Node }

func (e evalAt) Status() *machine.Status { return e.View() }

func startRequests(reqs []StartReq) []manager.StartRequest {
	var out []manager.StartRequest
	for _, r := range reqs {
		out = append(out, manager.StartRequest(r))
	}
	return out
}

// outputTo prints the apps' lines, each with the app's name.
func outputTo(w io.Writer) func(manager.Line) {
	var mu sync.Mutex
	return func(l manager.Line) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%s: %s\n", l.App, l.Text)
	}
}
