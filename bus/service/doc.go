// Package service is the door through which programs command a node: a NATS
// micro service, so that the nats command line and any other client find it
// without knowing anything of ours.
//
//	nats micro info regent
//	nats request regent.default.api.node1=40lxw.status ''
//	nats request regent.default.api.node1=40lxw.start '{"app":"myapp"}'
//
// The service is called "regent", with one instance for each node; the
// metadata say node, cluster and session. Each verb is an endpoint of its own.
// Requests and replies are JSON objects; a reply carries "schema":1; an error
// has the headers of micro services, Nats-Service-Error and
// Nats-Service-Error-Code, and says the same in its body.
//
//	400  the request can't be understood; the message names the field
//	404  unknown app or node
//	409  refused, in the words of OTP: already started, not started, ...
//	500  a fault of the node
//	503  no quorum, too many requests, or the node is stopping
//
// What is promised: a request is done by exactly one instance; requests wait
// for each other only where the node makes them wait; a start that blocks does
// not hold up a status; every request that was accepted is answered while there
// is a connection, at the latest when the service stops. Not promised: that an
// answer arrives. Whoever gets none ([ErrUnanswered]) doesn't know whether it
// was done.
//
// [Client] is the other side. What a node does with a verb is behind [Control].
package service
