package config

import (
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// layer is what one section says; nil and empty are unsaid.
type layer struct {
	distributed         *located[[]entry]
	mandatory, optional *located[[]located[node.Name]]
	syncTimeout         *located[policy.Timeout]
	permissions         *located[[]located[Permission]]
	netTicktime         *located[time.Duration]
	lease, kvOutage     *located[time.Duration]
	servers             *located[[]located[node.Name]]
	arbiter             *located[node.Name]
	client, cluster     *located[int] // ports
	hosts               []Host
	addresses           []located[Address]
	apps                []definition
	env                 []Section
}

// entry is one entry of distributed.
type entry struct {
	app     policy.App
	timeout policy.Timeout
	groups  [][]located[node.Name]
	at      Position
	syntax  syntax
}

// definition is what one layer says about one app.
type definition struct {
	name        policy.App
	at          Position
	syntax      syntax
	command     *[]string
	env         []Variable
	dir, args   *string
	restartType *policy.RestartType
	takeover    *policy.TakeoverMode
	full        *bool
	phases      *[]policy.Phase
	included    *[]located[policy.App]
	stop        stopKeys
	restart     restartKeys
}

type stopKeys struct {
	signal  *string
	timeout *time.Duration
}

type restartKeys struct {
	max             *int
	within, backoff *time.Duration
}

// merge lays each layer over those before it.
func merge(layers []*layer) *layer {
	m := &layer{}
	for _, l := range layers {
		over(&m.distributed, l.distributed)
		over(&m.mandatory, l.mandatory)
		over(&m.optional, l.optional)
		over(&m.syncTimeout, l.syncTimeout)
		over(&m.permissions, l.permissions)
		over(&m.netTicktime, l.netTicktime)
		over(&m.lease, l.lease)
		over(&m.kvOutage, l.kvOutage)
		over(&m.servers, l.servers)
		over(&m.arbiter, l.arbiter)
		over(&m.client, l.client)
		over(&m.cluster, l.cluster)
		m.mergeNamed(l)
	}
	return m
}

func over[T any](dst **T, src *T) {
	if src != nil {
		*dst = src
	}
}

func (l *layer) mergeNamed(later *layer) {
	for _, h := range later.hosts {
		l.hosts = put(l.hosts, h, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, a := range later.addresses {
		l.addresses = update(l.addresses, a, addressOrder, mergeAddress)
	}
	for _, d := range later.apps {
		l.apps = update(l.apps, d, definitionOrder, mergeDefinition)
	}
	for _, s := range later.env {
		l.env = update(l.env, s, sectionOrder, mergeSection)
	}
}

func addressOrder(a, b located[Address]) int {
	return strings.Compare(string(a.value.Node), string(b.value.Node))
}
func definitionOrder(a, b definition) int { return strings.Compare(string(a.name), string(b.name)) }
func sectionOrder(a, b Section) int       { return strings.Compare(a.App, b.App) }

// update inserts x into a sorted list, or merges it into its equal.
func update[T any](list []T, x T, order func(a, b T) int, merge func(dst *T, src T)) []T {
	if i, found := slices.BinarySearchFunc(list, x, order); found {
		merge(&list[i], x)
		return list
	}
	return put(list, x, order)
}

func mergeAddress(dst *located[Address], src located[Address]) {
	dst.at = src.at
	if src.value.Client != "" {
		dst.value.Client = src.value.Client
	}
	if src.value.Cluster != "" {
		dst.value.Cluster = src.value.Cluster
	}
}

func mergeDefinition(dst *definition, src definition) {
	dst.at, dst.syntax = src.at, src.syntax
	over(&dst.command, src.command)
	over(&dst.dir, src.dir)
	over(&dst.args, src.args)
	over(&dst.restartType, src.restartType)
	over(&dst.takeover, src.takeover)
	over(&dst.full, src.full)
	over(&dst.phases, src.phases)
	over(&dst.included, src.included)
	over(&dst.stop.signal, src.stop.signal)
	over(&dst.stop.timeout, src.stop.timeout)
	over(&dst.restart.max, src.restart.max)
	over(&dst.restart.within, src.restart.within)
	over(&dst.restart.backoff, src.restart.backoff)
	for _, v := range src.env {
		dst.env = put(dst.env, v, variableOrder)
	}
}

func variableOrder(a, b Variable) int { return strings.Compare(a.Name, b.Name) }

func mergeSection(dst *Section, src Section) {
	for _, v := range src.Values {
		dst.Values = put(dst.Values, v, func(a, b Value) int { return strings.Compare(a.Key, b.Key) })
	}
}
