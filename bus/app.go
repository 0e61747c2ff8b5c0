package bus

import (
	"strings"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// AppRights are what the instances of one app may do in NATS, and nothing else:
// what is below their own subjects, a stream of their own, their inbox.
type AppRights struct {
	Publish   []string
	Subscribe []string
	Inbox     string // prefix
	Stream    string
}

// AppSubjects matches what belongs to an app.
func (c Cluster) AppSubjects(app policy.App) string {
	return c.all(KindApp) + "." + node.Token(string(app)) + ".>"
}

// AppStream is the name of the one stream that an app may make and use. A
// permission matches whole tokens, and a stream's name is one: there can be no
// permission for all names that begin like this.
func (c Cluster) AppStream(app policy.App) string {
	return root + "_" + string(c) + "_app_" + node.Token(string(app))
}

// AppRights are those of app. Of its stream, an instance may write and read
// what is in it, and make it. It may not change, empty or delete it: one that
// has lost its right to run could undo with that what keeps it from writing.
func (c Cluster) AppRights(app policy.App) AppRights {
	stream, own, inbox := c.AppStream(app), c.AppSubjects(app), "_INBOX."+c.all(KindApp)+"."+node.Token(string(app))
	r := AppRights{Publish: []string{own, inbox + ".>"}, Subscribe: []string{own, inbox + ".>"}, Inbox: inbox, Stream: stream}
	for _, call := range []string{
		"STREAM.CREATE.*", "STREAM.INFO.*", "STREAM.MSG.GET.*", "DIRECT.GET.*", "DIRECT.GET.*.>",
		"CONSUMER.CREATE.*", "CONSUMER.CREATE.*.>", "CONSUMER.DURABLE.CREATE.*.*", "CONSUMER.DELETE.*.*",
		"CONSUMER.INFO.*.*", "CONSUMER.LIST.*", "CONSUMER.NAMES.*", "CONSUMER.MSG.NEXT.*.*",
	} {
		r.Publish = append(r.Publish, "$JS.API."+ofStream(call, stream))
	}
	r.Publish = append(r.Publish, "$JS.ACK."+stream+".>", "$JS.FC."+stream+".>")
	return r
}

// ofStream puts the stream's name where the first wildcard is.
func ofStream(call, stream string) string { return strings.Replace(call, "*", stream, 1) }
