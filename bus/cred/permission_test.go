package cred_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/bus/cred"
)

var rewrite = flag.Bool("rewrite", false, "write the permissions of docs/deploy.md anew")

// TestPermissionsAreDocumented: docs/deploy.md lists exactly the permissions of
// each role; tests/external runs a cluster with nothing else.
func TestPermissionsAreDocumented(t *testing.T) {
	const file = "../../docs/deploy.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for name, role := range map[string]cred.Role{"node": cred.NodeRole, "client": cred.ClientRole, "talk": cred.TalkRole, "keeper": cred.KeeperRole, "look": cred.LookRole} {
		begin, end := "<!-- permissions: "+name+" -->\n```\n", "```\n<!-- end: "+name+" -->"
		before, rest, ok := strings.Cut(text, begin)
		have, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Errorf("%s does not list the permissions of the role %s", file, name)
			continue
		}
		want := listed(cred.Least(role, "default", "", ""))
		if *rewrite {
			text = before + begin + want + end + after
		} else if have != want {
			t.Errorf("%s lists for %s\n%s\nand it needs\n%s", file, name, have, want)
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func listed(p cred.Permissions) string {
	var b strings.Builder
	for _, list := range []struct {
		what     string
		subjects []string
	}{{"publish", p.Publish}, {"publish, deny", p.PublishDeny}, {"subscribe", p.Subscribe}} {
		for _, s := range list.subjects {
			fmt.Fprintf(&b, "%-14s %s\n", list.what, s)
		}
	}
	return b.String()
}

// In a domain, or with inboxes of one's own, other subjects are needed.
func TestPermissionsElsewhere(t *testing.T) {
	p := strings.Join(cred.Least(cred.NodeRole, "c", "$JS.hub.API", "_INBOX_me").Publish, " ")
	for _, want := range []string{"$JS.hub.API.$KV.regent_c.>", "$JS.hub.API.STREAM.CREATE.KV_regent_c"} {
		if !strings.Contains(p, want) {
			t.Errorf("no %s in %s", want, p)
		}
	}
	if strings.Contains(p, "$JS.API") {
		t.Errorf("the usual prefix in %s", p)
	}
	if s := strings.Join(cred.Least(cred.ClientRole, "c", "", "_INBOX_me").Subscribe, " "); !strings.Contains(s, "_INBOX_me.>") || strings.Contains(s, "_INBOX.>") {
		t.Errorf("inboxes of one's own: %s", s)
	}
}

// The stanza holds public keys alone.
func TestStanza(t *testing.T) {
	c, err := cred.NewCookie("a-cookie-for-tests-0123456789", false)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cred.Derive(c, "default")
	if err != nil {
		t.Fatal(err)
	}
	for system, want := range map[bool][]string{
		false: {"authorization {", "nkey: " + a.PublicKey(cred.App), "# cluster default, cookie fingerprint " + c.Fingerprint()},
		true:  {"accounts {", "system_account: SYS", "nkey: " + a.PublicKey(cred.System), "jetstream: enabled"},
	} {
		text := a.Stanza("", system)
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
		if strings.Contains(text, "nkey: S") || strings.Contains(text, "a-cookie") {
			t.Errorf("a secret in\n%s", text)
		}
	}
}
