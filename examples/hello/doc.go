// Command hello is the workload of the demo, the drills and the tests: a small static HTTP server that answers with the
// allocation it is, the node it runs on and its version, and that prints numbered lines when asked to.
//
//	HELLO_ADDR     address to listen on; default :$DROVER_PORT_http, or :8080
//	HELLO_VERSION  the version it answers with; default 1
//	HELLO_NODE     the node that it says it runs on: HELLO_NODE = "${node.unique.name}" in the job
//	HELLO_TICK     print "line N" that often, for example 50ms; default never
package main
