package main

import (
	"context"
	"fmt"
	"io"
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
	var also cred.Cookie
	if o.AlsoCookie != "" {
		if also, err = (CookieSource{File: o.AlsoCookie, Insecure: o.Cookie.Insecure}).LoadExisting(); err != nil {
			return err
		}
	}
	log := o.Logger()
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "at", w.Position.String(), "warning", w.Message)
	}
	unsetSecrets()
	node, err := manager.New(manager.Options{
		Name: string(o.Name), Cluster: string(o.Cluster), Config: cfg, Cookie: cookie, Also: also, Hidden: o.Hidden,
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
