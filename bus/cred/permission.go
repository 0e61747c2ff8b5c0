package cred

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Permissions are the least that a user needs on an external NATS: subjects to
// publish and to subscribe to.
type Permissions struct {
	Publish, PublishDeny, Subscribe []string
}

// Role is what a user is for.
type Role int

// Roles.
const (
	NodeRole   Role = iota // a node and its warden
	ClientRole             // the command line: look, start, stop, move
	TalkRole               // likewise, with the commands that exchange messages
	KeeperRole             // as ClientRole, with backup, restore and all of doctor
	LookRole               // the command line, and the nats CLI as docs/nats-cli.md shows it
)

// Least are the permissions of role in cluster. apiPrefix is that of JetStream,
// "" for the usual one; inbox is the prefix of the user's inboxes, "" for the
// usual one.
func Least(role Role, cluster, apiPrefix, inbox string) Permissions {
	api, inbox := cmp.Or(apiPrefix, "$JS.API"), cmp.Or(inbox, "_INBOX")
	bucket, subjects := "regent_"+cluster, "regent."+cluster
	events, stream := bucket+"_events", "KV_"+bucket
	put := "$KV." + bucket + ".>"
	if apiPrefix != "" {
		put = api + "." + put
	}
	read := []string{api + ".STREAM.INFO." + stream, api + ".STREAM.MSG.GET." + stream, api + ".STREAM.INFO." + events}
	if role == NodeRole {
		p := Permissions{
			Publish: append([]string{
				subjects + ".>", put, "_INBOX.>",
				api + ".STREAM.CREATE." + stream, api + ".STREAM.CREATE." + events,
			}, read...),
			// What the bucket republishes nobody else may say.
			PublishDeny: []string{subjects + ".kv.>"},
			Subscribe:   []string{subjects + ".>", inbox + ".>"},
		}
		for _, verb := range []string{"PING", "INFO", "STATS"} {
			p.Subscribe = append(p.Subscribe, "$SRV."+verb, "$SRV."+verb+".regent", "$SRV."+verb+".regent.*")
		}
		return p
	}
	p := Permissions{
		Publish:   append([]string{subjects + ".api.>", subjects + ".node.*.ping", "$SRV.INFO.regent", api + ".DIRECT.GET." + events}, read...),
		Subscribe: []string{inbox + ".>", subjects + ".event.>"},
	}
	switch role {
	case TalkRole:
		// Such a command is a node for as long as it runs, with a name of its own.
		p.Publish, p.Subscribe = append(p.Publish, subjects+".node.>"), append(p.Subscribe, subjects+".node.>")
	case KeeperRole:
		p.Publish = append(p.Publish, put)
	case LookRole:
		p.Publish = append(p.Publish, "$SRV.>", api+".INFO", api+".STREAM.NAMES", api+".STREAM.LIST", "$JS.FC.>")
		for _, name := range []string{stream, events} {
			for _, verb := range []string{"CREATE", "INFO", "DELETE", "MSG.NEXT"} {
				p.Publish = append(p.Publish, api+".CONSUMER."+verb+"."+name+".>")
			}
			p.Publish = append(p.Publish, api+".CONSUMER.CREATE."+name)
		}
		p.Subscribe = append(p.Subscribe, subjects+".>")
	}
	return p
}

// Stanza is what the configuration of an external server needs to know this
// cluster's nodes: the public half of the key that follows from the cookie, and
// what it may do: be a node, keep the cluster, and look at it. With system it is
// two accounts, of which the second sees the servers.
func (a *Authority) Stanza(apiPrefix string, system bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# cluster %s, cookie fingerprint %s\n", a.cluster, a.fingerprint)
	may := Least(NodeRole, a.cluster, apiPrefix, "")
	look := Least(LookRole, a.cluster, apiPrefix, "")
	may.Publish, may.Subscribe = union(may.Publish, look.Publish), union(may.Subscribe, look.Subscribe)
	user := userText(a.PublicKey(App), may)
	if !system {
		fmt.Fprintf(&b, "authorization {\n  users: [\n%s  ]\n}\n", indent(user, "    "))
		return b.String()
	}
	fmt.Fprintf(&b, "accounts {\n  REGENT {\n    jetstream: enabled\n    users: [\n%s    ]\n  }\n", indent(user, "      "))
	fmt.Fprintf(&b, "  SYS {\n    users: [\n      { nkey: %s }\n    ]\n  }\n}\nsystem_account: SYS\n", a.PublicKey(System))
	return b.String()
}

// union is a with what b allows beyond it.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.ContainsFunc(a, func(have string) bool { return covers(have, s) }) {
			a = append(a, s)
		}
	}
	return a
}

// covers reports whether one subject allows all that another does.
func covers(have, want string) bool {
	prefix, all := strings.CutSuffix(have, ">")
	return have == want || all && strings.HasPrefix(want, prefix)
}

func userText(key string, p Permissions) string {
	return fmt.Sprintf("{ nkey: %s\n  permissions: {\n    publish: {\n      allow: %s\n      deny: %s\n    }\n    subscribe: %s\n  }\n}\n",
		key, listText(p.Publish), listText(p.PublishDeny), listText(p.Subscribe))
}

func listText(subjects []string) string {
	if len(subjects) == 1 {
		return `"` + subjects[0] + `"`
	}
	return "[\n        \"" + strings.Join(subjects, "\"\n        \"") + "\"\n      ]"
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
}
