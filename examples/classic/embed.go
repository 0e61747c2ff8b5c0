// Package classic holds the three configuration files of the distributed
// applications chapter as every Erlang user knows them, for programs that show
// or test them.
package classic

import "embed"

// Files are node1.config, node2.config and node3.config.
//
//go:embed node1.config node2.config node3.config
var Files embed.FS
