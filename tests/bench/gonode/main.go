// Gonode is a node whose app is a Go callback that writes down when it began.
//
//	gonode NAME CONFIG COOKIE DATA FILE
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/manager"
)

func main() {
	manager.Main()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name, config, cookie, data, file string) error {
	c, err := manager.LoadConfig(config)
	if err != nil {
		return err
	}
	o := manager.Options{
		Name: name, Config: c, DataDir: data, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Start: []manager.StartRequest{{App: "bench"}},
		Apps: map[string]func() manager.Application{"bench": func() manager.Application {
			return manager.Func(func(ctx context.Context, s manager.Start) error { return stamp(ctx, file, s) })
		}},
	}
	if o.Cookie, err = manager.LoadCookie(cookie); err != nil {
		return err
	}
	n, err := manager.New(o)
	if err != nil {
		return err
	}
	if exit := n.Run(ctx); exit.Code != manager.ExitOK {
		return fmt.Errorf("exit code %d: %s", exit.Code, exit.Reason)
	}
	return nil
}

func stamp(ctx context.Context, file string, s manager.Start) error {
	now := time.Now()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := fmt.Fprintf(f, "%d %s\n", now.UnixNano(), s.Node); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
