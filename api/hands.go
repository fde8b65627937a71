package api

import "runtime"

// hands bound what the requests of agents keep a server busy with at one time to as much as there are processors. When thousands of nodes
// ask at once, all that they ask for would be ready to run, and what the servers say to each other would stand in line behind it for longer than
// a leader may be silent.
type hands chan struct{}

func newHands() hands { return make(hands, max(2, runtime.GOMAXPROCS(0))) }

// do waits for a free hand, and does what neither waits nor writes to anybody.
func (h hands) do(work func()) {
	h <- struct{}{}
	defer func() { <-h }()
	work()
}
