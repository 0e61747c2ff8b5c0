package manager

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy/config"
)

func webParts(addr string) *parts {
	return &parts{node: &Node{
		opts: Options{HTTP: addr, Cluster: "default", Version: "1.2.3", Config: &config.Config{}},
		plan: plan{self: "n1@h"}, log: slog.New(slog.DiscardHandler),
	}}
}

// Before the node is connected it is healthy and not ready, and says why; its
// metrics can be looked at.
func TestWebBeforeTheNodeIsConnected(t *testing.T) {
	p := webParts("127.0.0.1:0")
	if err := p.openWeb(); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/healthz": {200, "ok\n"},
		"/readyz":  {503, "not connected yet\n"},
		"/metrics": {200, `regent_build_info{cluster="default",node="n1@h",version="1.2.3"} 1`},
		"/":        {404, ""},
	} {
		resp, err := client.Get("http://" + p.web.listen.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want.code || !strings.Contains(string(text), want.text) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	taken := webParts(p.web.listen.Addr().String())
	err := taken.openWeb()
	if e := taken.node.exitFor(err); !errors.Is(err, errHTTP) || e.Code != ExitFailed || !strings.HasPrefix(e.Reason, "http: ") || !strings.Contains(e.Hint, "--http") {
		t.Errorf("a taken address: %+v", e)
	}
}

func TestNoWebUnlessAskedFor(t *testing.T) {
	p := webParts("")
	if err := p.openWeb(); err != nil || p.web != nil || len(p.stops) != 0 {
		t.Errorf("%v, %+v", err, p.web)
	}
	if o := p.web.observe(); o.History != nil || o.Wrote != nil {
		t.Error("somebody counts")
	}
}
