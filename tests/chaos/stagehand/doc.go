// Command stagehand is what the chaos suite runs beside regent itself, one
// program with a role as its first argument:
//
//	app SOCKET     an app with a child: both say who they are and when they
//	               began, and go on saying that they execute
//	recorder SOCKET
//	               outside all namespaces: holds a descriptor of each of these
//	               processes and writes down when they begin and when they are gone
//	init           the first process of a host: everything on the host ends with it
//	hold           keeps the namespaces that it was started in
//
// Linux only.
package main
