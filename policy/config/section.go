package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// section reads one section of an Erlang file.
func (d *decoder) section(name string, v value) *layer {
	l := &layer{}
	switch name {
	case "kernel":
		d.kernel(l, v)
	case "regent":
		d.object(v, "regent", d.regentKeys(l)...)
	default:
		d.environment(l, name, v)
	}
	return l
}

// yamlTop reads a YAML file.
func (d *decoder) yamlTop(v value) *layer {
	l := &layer{}
	if v.kind != kindMap {
		d.errorf(v.at, "", "expected a mapping with keys like distributed and apps, found %v", v)
		return l
	}
	d.object(v, "the configuration", d.yamlKeys(l)...)
	return l
}

// yamlKeys are the keys of YAML's top.
func (d *decoder) yamlKeys(l *layer) []field {
	return slices.Concat([]field{
		d.distributedKey(l),
		{"sync", func(v value) { d.object(v, "sync", d.syncKeys(l, "sync.")...) }, doc{
			inner: func() []field { return d.syncKeys(l, "sync.") }}},
		d.permissionsKey(l),
		d.netTicktimeKey(l),
		{"application_env", func(v value) { d.environments(l, v) }, doc{
			erlang: "{APP, [{KEY, …}]}", value: "`APP: {KEY: anything}` each", meaning: "environment of other applications; kept"}},
	}, d.regentKeys(l))
}

// syncPrefix is what the keys of YAML's sync have before them in kernel.
const syncPrefix = "sync_nodes_"

// kernelKeys are the keys of kernel that mean something here.
func (d *decoder) kernelKeys(l *layer) []field {
	keys := []field{d.distributedKey(l)}
	for _, f := range d.syncKeys(l, syncPrefix) {
		f.name = syncPrefix + f.name
		keys = append(keys, f)
	}
	return append(keys, d.permissionsKey(l), d.netTicktimeKey(l))
}

func (d *decoder) distributedKey(l *layer) field {
	return field{"distributed", func(v value) { d.distributed(l, v) }, doc{
		erlang: kernelForm("distributed"), value: "list of entries, the three below",
		meaning: "which apps are distributed, and where they may run",
		inner:   func() []field { return d.entryKeys(&entry{}, new(bool), new(bool)) },
	}}
}

// syncKeys are the keys of the barrier; within is what errors call them with.
func (d *decoder) syncKeys(l *layer, within string) []field {
	return []field{
		{"mandatory", func(v value) { l.mandatory = d.nodeList(v, within+"mandatory") }, doc{
			erlang: kernelForm(syncPrefix + "mandatory"), value: "list of nodes", meaning: "nodes without which this one does not come up"}},
		{"optional", func(v value) { l.optional = d.nodeList(v, within+"optional") }, doc{
			erlang: kernelForm(syncPrefix + "optional"), value: "list of nodes", meaning: "nodes that are waited for"}},
		{"timeout", func(v value) { d.syncTimeout(l, v, within+"timeout") }, doc{
			erlang: kernelForm(syncPrefix + "timeout"), value: "duration or `infinity`", otherwise: "no waiting", meaning: "for how long"}},
	}
}

func (d *decoder) permissionsKey(l *layer) field {
	return field{"permissions", func(v value) { d.permissions(l, v) }, doc{
		erlang: kernelForm("permissions"), value: "`APP: true` or `false` each", otherwise: "`true`", meaning: "whether this node may run an app"}}
}

func (d *decoder) netTicktimeKey(l *layer) field {
	return field{"net_ticktime", func(v value) { d.netTicktime(l, v) }, doc{
		erlang: kernelForm("net_ticktime"), value: "duration (Erlang: seconds)", meaning: "after it a connection for messages that owes an answer is over; for apps the lease decides"}}
}

// kernel reads OTP's own section. Real ones are full of parameters that have
// no meaning here: they are kept, with a warning.
func (d *decoder) kernel(l *layer, v value) {
	ours := d.kernelKeys(l)
	other := Section{App: "kernel"}
	for _, p := range d.pairs(v, "kernel") {
		name, ok := p.key.str()
		if !ok {
			d.errorf(p.key.at, "", "expected a key of kernel, found %v", p.key)
			continue
		}
		if i := slices.IndexFunc(ours, func(f field) bool { return f.name == name }); i >= 0 {
			ours[i].read(p.val)
			continue
		}
		hint := d.suggest(name, ours)
		if !strings.HasPrefix(hint, "did you mean") {
			hint = ""
		}
		d.warnf(p.key.at, hint, "kernel parameter %s has no effect here", clip(name))
		other.Values = append(other.Values, Value{name, string(p.val.appendJSON(nil))})
	}
	l.env = sections(other)
}

// sections is the section with its values sorted, or nothing if it is empty.
func sections(s Section) []Section {
	if len(s.Values) == 0 {
		return nil
	}
	slices.SortFunc(s.Values, func(a, b Value) int { return strings.Compare(a.Key, b.Key) })
	return []Section{s}
}

// environment reads the section of an application that is not ours.
func (d *decoder) environment(l *layer, name string, v value) {
	s := Section{App: name}
	for _, p := range d.pairs(v, name) {
		key, ok := p.key.str()
		if !ok {
			d.errorf(p.key.at, "", "expected a key of %s, found %v", name, p.key)
			continue
		}
		s.Values = append(s.Values, Value{key, string(p.val.appendJSON(nil))})
	}
	l.env = append(l.env, sections(s)...)
}

func (d *decoder) environments(l *layer, v value) {
	for _, p := range d.pairs(v, "application_env") {
		name, ok := d.text(p.key, "an application")
		switch {
		case !ok:
		case name == "regent":
			d.errorf(p.key.at, "its keys stand at the top", "regent has no environment")
		case utf8.RuneCountInString(name) > atomMax:
			d.errorf(p.key.at, "", "name of an application of more than %d characters", atomMax)
		case name == "kernel":
			d.kernelEnvironment(l, p.val)
		default:
			d.environment(l, name, p.val)
		}
	}
}

// atomMax is Erlang's limit for the name of an atom, in characters.
const atomMax = 255

// kernelEnvironment reads parameters of kernel from YAML, where ours have
// another place.
func (d *decoder) kernelEnvironment(l *layer, v value) {
	ours := d.kernelKeys(l)
	for _, p := range v.pairs {
		if i := slices.IndexFunc(ours, func(f field) bool { return f.name == p.key.text }); i >= 0 {
			hint, _ := elsewhere(p.key.text)
			d.errorf(p.key.at, hint, "%s has another place in YAML", p.key.text)
			return
		}
	}
	d.environment(l, "kernel", v)
}

// regentKeys are the keys of the section regent, and of YAML's top.
func (d *decoder) regentKeys(l *layer) []field {
	return []field{
		{"hosts", func(v value) { d.hosts(l, v) }, doc{
			value: "`HOST: address` each", otherwise: "the host's name", meaning: "where the host part of node names is found"}},
		{"ports", func(v value) { d.object(v, "ports", d.portKeys(l)...) }, doc{
			inner: func() []field { return d.portKeys(l) }}},
		{"addresses", func(v value) { d.addresses(l, v) }, doc{
			entry: "NODE", inner: func() []field { return d.addressKeys(&Address{}) }}},
		{"lease", func(v value) { l.lease = d.positive(v, "lease") }, doc{
			value: "duration", otherwise: code(policy.EmbeddedTTL) + "; external NATS: " + code(policy.ExternalTTL),
			meaning: "how long a silent node keeps its apps; the price of a lost host"}},
		{"kv_outage", func(v value) { l.kvOutage = d.positive(v, "kv_outage") }, doc{
			value: "duration", otherwise: code(policy.EmbeddedKVOutage) + "; external NATS: " + code(policy.ExternalKVOutage),
			meaning: "the longest outage of the store that must not move an app; a shorter lease needs a lower one"}},
		{"servers", func(v value) { l.servers = d.nodeList(v, "servers") }, doc{
			value: "list of nodes", otherwise: "[voters](#voters)", meaning: "nodes that run JetStream"}},
		{"arbiter", func(v value) { d.arbiter(l, v) }, doc{
			value: "node", meaning: "one more voter, which runs no app"}},
		{"apps", func(v value) { d.apps(l, v) }, doc{
			value: "`APP: keys` each", meaning: "what each app is: [the next table](#keys-of-an-app)",
			entry: "APP", inner: func() []field { return d.appKeys(&definition{}) }}},
		{"allow_exec", func(v value) { l.allowExec = d.boolean(v, "allow_exec") }, doc{
			value: "`true` or `false`", otherwise: code(false),
			meaning: "whoever may send this node messages may run [commands of the operating system](messaging.md#commands-of-the-operating-system) here"}},
		{"cookies", func(v value) { d.cookies(l, v) }, doc{
			entry: "NODE", inner: func() []field { return d.cookieKeys(&Foreign{}) }}},
	}
}

func (d *decoder) boolean(v value, what string) *located[bool] {
	b, ok := d.bool(v, what)
	if !ok {
		return nil
	}
	return &located[bool]{b, v.at}
}

func (d *decoder) nodeList(v value, what string) *located[[]located[node.Name]] {
	return &located[[]located[node.Name]]{d.nodes(v, what), v.at}
}

func (d *decoder) positive(v value, what string) *located[time.Duration] {
	n, ok := d.duration(v, what, time.Millisecond, time.Millisecond)
	if !ok {
		return nil
	}
	return &located[time.Duration]{n, v.at}
}

func (d *decoder) netTicktime(l *layer, v value) {
	if n, ok := d.duration(v, "net_ticktime", time.Second, time.Second); ok {
		l.netTicktime = &located[time.Duration]{n, v.at}
	}
}

func (d *decoder) arbiter(l *layer, v value) {
	if n, ok := d.node(v); ok {
		l.arbiter = &n
	}
}

// syncTimeout is greater than 0, or infinity (OTP: kernel_config).
func (d *decoder) syncTimeout(l *layer, v value, what string) {
	if t, ok := d.timeout(v, what, time.Millisecond); ok {
		l.syncTimeout = &located[policy.Timeout]{t, v.at}
	}
}

func (d *decoder) permissions(l *layer, v value) {
	ps := located[[]located[Permission]]{at: v.at}
	for _, p := range d.pairs(v, "permissions") {
		app, ok := d.app(p.key)
		permitted, ok2 := d.bool(p.val, "the permission")
		if ok && ok2 {
			ps.value = append(ps.value, located[Permission]{Permission{app, permitted}, p.key.at})
		}
	}
	slices.SortFunc(ps.value, func(a, b located[Permission]) int { return strings.Compare(string(a.value.App), string(b.value.App)) })
	l.permissions = &ps
}

func (d *decoder) hosts(l *layer, v value) {
	for _, p := range d.pairs(v, "hosts") {
		name, ok := d.text(p.key, "a host name")
		addr, ok2 := d.text(p.val, "an address")
		if ok && ok2 && d.hostText(p.key, name) && d.hostText(p.val, addr) {
			l.hosts = append(l.hosts, Host{name, addr})
		}
	}
}

// hostText refuses what can't be a host name or an IP address.
func (d *decoder) hostText(v value, s string) bool {
	if _, err := node.Parse("x@" + s); err != nil {
		d.errorf(v.at, "", "invalid host %s", quote(s))
		return false
	}
	return true
}

func (d *decoder) portKeys(l *layer) []field {
	port := func(dst **located[int], what string) func(value) {
		return func(v value) {
			if n, ok := d.integer(v, what, 1, 65535); ok {
				*dst = &located[int]{n, v.at}
			}
		}
	}
	return []field{
		{"client", port(&l.client, "ports.client"), doc{
			value: "port", otherwise: code(DefaultClientPort), meaning: "first of the clients' ports in the [port map](#ports)"}},
		{"cluster", port(&l.cluster, "ports.cluster"), doc{
			value: "port", otherwise: code(DefaultClusterPort), meaning: "first of the ports of the voters among one another"}},
	}
}

func (d *decoder) addresses(l *layer, v value) {
	l.addresses = append(l.addresses, ofNodes(d, v, "addresses", func(n node.Name) Address { return Address{Node: n} }, d.addressKeys)...)
}

// ofNodes reads an object whose keys are nodes; keys says what stands in each.
func ofNodes[T any](d *decoder, v value, what string, of func(node.Name) T, keys func(*T) []field) (list []located[T]) {
	for _, p := range d.pairs(v, what) {
		n, ok := d.node(p.key)
		item := located[T]{of(n.value), p.key.at}
		d.object(p.val, what, keys(&item.value)...)
		if ok {
			list = append(list, item)
		}
	}
	return list
}

func (d *decoder) addressKeys(a *Address) []field {
	return []field{
		{"client", func(v value) { a.Client = d.hostPort(v) }, doc{
			value: "`HOST:PORT`", otherwise: "[port map](#ports)", meaning: "where clients reach that node"}},
		{"cluster", func(v value) { a.Cluster = d.hostPort(v) }, doc{
			value: "`HOST:PORT`", otherwise: "[port map](#ports)", meaning: "where the other voters reach it"}},
	}
}

// cookies are nodes of other clusters (OTP: erlang:set_cookie/2).
func (d *decoder) cookies(l *layer, v value) {
	l.cookies = append(l.cookies, ofNodes(d, v, "cookies", func(n node.Name) Foreign { return Foreign{Node: n} }, d.cookieKeys)...)
}

func (d *decoder) cookieKeys(f *Foreign) []field {
	text := func(dst *string, what string) func(value) {
		return func(v value) { *dst, _ = d.text(v, what) }
	}
	return []field{
		{"file", text(&f.File, "a cookie file"), doc{
			value: "path", meaning: "cookie of that node, which is [in another cluster](messaging.md#nodes): its file on this machine"}},
		{"server", text(&f.Server, "the URL of a NATS server"), doc{
			value: "URLs with commas between them", meaning: "NATS of that cluster, such as `tls://HOST:4222`"}},
		{"cluster", text(&f.Cluster, "the name of a cluster"), doc{
			value: "name", otherwise: "as the own one", meaning: "name of that cluster"}},
	}
}

// hostPort reads HOST:PORT, with brackets round an IPv6 address.
func (d *decoder) hostPort(v value) string {
	s, ok := d.text(v, "HOST:PORT")
	if !ok {
		return ""
	}
	host, port, found := cutPort(s)
	n, err := strconv.Atoi(port)
	if !found || err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port || host == "" {
		d.errorf(v.at, "", "expected HOST:PORT, found %s", quote(s))
		return ""
	}
	if !d.hostText(v, host) {
		return ""
	}
	return s
}

func cutPort(s string) (host, port string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	host, port = s[:i], s[i+1:]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return inner, port, ok
	}
	return host, port, !strings.Contains(host, ":")
}

// distributed reads OTP's list of {App, [Timeout,] Nodes}, or YAML's list of
// mappings.
func (d *decoder) distributed(l *layer, v value) {
	items, ok := d.list(v, "a list of apps for distributed")
	if !ok {
		return
	}
	list := located[[]entry]{at: v.at}
	for _, item := range items {
		e, ok := d.entry(item)
		if i := slices.IndexFunc(list.value, func(f entry) bool { return f.app == e.app }); ok && i >= 0 {
			d.errorf(e.at, "", "duplicate app %s in distributed, first at %v", e.app, list.value[i].at)
			continue
		}
		if ok {
			list.value = append(list.value, e)
		}
	}
	l.distributed = &list
}

func (d *decoder) entry(v value) (entry, bool) {
	if v.syntax == erlang {
		return d.erlangEntry(v)
	}
	e := entry{at: v.at, syntax: yaml}
	var app, groups, ok bool
	before := len(d.errors)
	d.object(v, "an entry of distributed", d.entryKeys(&e, &app, &groups)...)
	ok = len(d.errors) == before
	if ok && !app {
		d.errorf(v.at, "", "entry of distributed without app")
	}
	if ok && app && !groups {
		d.errorf(v.at, "", "entry of distributed without nodes")
	}
	return e, app && groups
}

// entryKeys are the keys of an entry of YAML's distributed; app and groups tell
// whether those were read.
func (d *decoder) entryKeys(e *entry, app, groups *bool) []field {
	return []field{
		{"app", func(v value) { e.app, *app = d.app(v); e.at = v.at }, doc{
			erlang: entryForm, value: "app", meaning: "its name"}},
		{"timeout", func(v value) { e.timeout, _ = d.timeout(v, "timeout", 0) }, doc{
			erlang: entryForm, value: "duration or `infinity`", otherwise: "`0`; may be left out in Erlang too",
			meaning: "how long a failover waits for the node to come back"}},
		{"nodes", func(v value) { e.groups, *groups = d.groups(v) }, doc{
			erlang: entryForm, value: "list of nodes and groups",
			meaning: "in order of priority; a group of equals is a tuple in Erlang, a nested list in YAML"}},
	}
}

// entryForm is an entry of distributed in Erlang.
const entryForm = "{App, Timeout, Nodes}"

func (d *decoder) erlangEntry(v value) (entry, bool) {
	e := entry{at: v.at, syntax: erlang}
	if n := len(v.items); v.kind != kindTuple || n < 2 || n > 3 {
		d.errorf(v.at, "", "expected {App, Nodes} or {App, Timeout, Nodes}, found %v", v)
		return e, false
	}
	ok := true
	app, ok1 := d.app(v.items[0])
	if len(v.items) == 3 {
		e.timeout, ok = d.timeout(v.items[1], "Timeout", 0)
	}
	groups, ok2 := d.groups(v.items[len(v.items)-1])
	e.app, e.groups, e.at = app, groups, v.items[0].at
	return e, ok && ok1 && ok2
}

// groups reads a priority list: a node or, of equals, a tuple (Erlang) or a
// nested list (YAML).
func (d *decoder) groups(v value) ([][]located[node.Name], bool) {
	items, ok := d.list(v, "a list of nodes")
	if ok && len(items) == 0 {
		d.errorf(v.at, "", "the list of nodes is empty: the app could run nowhere")
		return nil, false
	}
	var groups [][]located[node.Name]
	var all []located[node.Name]
	for _, item := range items {
		group, good := d.group(item)
		for _, n := range group {
			good = d.unrepeated(all, n, "the list") && good
			all = append(all, n)
		}
		groups = append(groups, group)
		ok = ok && good
	}
	return groups, ok
}

func (d *decoder) group(v value) ([]located[node.Name], bool) {
	equals := kindTuple
	if v.syntax == yaml {
		equals = kindList
	}
	if v.kind != equals {
		v.items = []value{v}
	}
	if len(v.items) == 0 {
		d.errorf(v.at, "", "expected a node name, found an empty group")
		return nil, false
	}
	var group []located[node.Name]
	all := true
	for _, item := range v.items {
		n, ok := d.node(item)
		if ok {
			group = append(group, n)
		}
		all = all && ok
	}
	return group, all
}
