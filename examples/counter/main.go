package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/seed7529eb29/regent/manager"
)

func main() {
	manager.Main() // the node's second process begins as this program, too
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its process: a node until ctx ends.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	opts, err := options(args, errOut)
	if err != nil {
		fmt.Fprintln(errOut, "counter:", err)
		return manager.ExitConfig
	}
	var n *manager.Node
	opts.Apps = map[string]func() manager.Application{
		appName: func() manager.Application { return &counter{out: out, processes: n.Processes()} },
	}
	opts.Start = []manager.StartRequest{{App: appName}}
	if n, err = manager.New(opts); err != nil {
		fmt.Fprintln(errOut, "counter:", err)
		return manager.ExitConfig
	}
	exit := n.Run(ctx)
	if exit.Code != manager.ExitOK {
		fmt.Fprintf(errOut, "counter: %s\n", exit.Reason)
	}
	return exit.Code
}

// options reads the command line and the files that it names.
func options(args []string, errOut io.Writer) (manager.Options, error) {
	fs := flag.NewFlagSet("counter", flag.ContinueOnError)
	fs.SetOutput(errOut)
	var files []string
	o := manager.Options{Logger: slog.New(slog.NewTextHandler(errOut, nil))}
	fs.StringVar(&o.Name, "name", "", "`name@host` of this node")
	fs.StringVar(&o.DataDir, "data", "", "directory of its data (default below $XDG_STATE_HOME)")
	cookieFile := fs.String("cookie-file", "counter.cookie", "secret of the cluster; made if it is missing")
	fs.Func("config", "configuration `file`; repeatable, later ones win", func(f string) error {
		files = append(files, f)
		return nil
	})
	err := fs.Parse(args)
	if err != nil {
		return o, err
	}
	if o.Config, err = manager.LoadConfig(files...); err != nil {
		return o, err
	}
	o.Cookie, err = manager.LoadCookie(*cookieFile)
	return o, err
}
