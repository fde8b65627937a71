package api

import (
	"net/http"
	"strconv"
	"time"
)

// Headers. Those of answers stand under both prefixes, X-Drover- and X-Nomad-, because tools of the field read the latter.
const (
	headerIndex       = "X-Drover-Index"
	headerLastContact = "X-Drover-Lastcontact" // milliseconds
	headerKnownLeader = "X-Drover-Knownleader" // true or false
	headerNextToken   = "X-Drover-Nexttoken"
	headerRequestID   = "X-Drover-Request-Id"
	headerAgent       = "X-Drover-Agent" // node ID of the agent that answered
	headerError       = "X-Drover-Error" // the code of an error
	headerNodeID      = "X-Drover-Node-Id"
	headerForwarded   = "X-Drover-Forwarded" // node ID of the agent that forwarded: there is no second hop
	headerTry         = "X-Drover-Try"       // peer address at which a forwarded request should be tried instead
)

const (
	nomadPrefix = "X-Nomad-"
	// maxHeaderBytes bounds the headers of a request, and of an answer.
	maxHeaderBytes = 16 << 10
	// maxRequestID bounds a request ID: what the state accepts.
	maxRequestID = 128
)

// mark writes what an answer says of where it comes from. The names are as http.Header keeps them, so that it need not look.
func (c *call) mark(h http.Header) {
	if c.index > 0 {
		twice(h, headerIndex, nomadPrefix+"Index", strconv.FormatUint(c.index, 10))
	}
	if c.s.b.State != nil && !c.rt.Write && c.rt.Capability != CapNode { // nodes read it in the body
		_, _, known := c.s.b.Cluster.Leader()
		twice(h, headerKnownLeader, nomadPrefix+"Knownleader", strconv.FormatBool(known))
		twice(h, headerLastContact, nomadPrefix+"Lastcontact", strconv.FormatInt(c.s.b.Cluster.LastContact().Milliseconds(), 10))
	}
	if c.nextToken != "" {
		twice(h, headerNextToken, nomadPrefix+"Nexttoken", c.nextToken)
	}
	if c.requestID != "" {
		h[headerRequestID] = []string{c.requestID}
	}
	h[headerAgent] = []string{c.s.self().NodeID}
}

// twice sets a header under both its names.
func twice(h http.Header, ours, theirs, value string) {
	values := []string{value}
	h[ours], h[theirs] = values, values
}

// forwardHeaders are the headers of a request that travel with it to another agent.
func (c *call) forwardHeaders() http.Header {
	h := http.Header{}
	for _, key := range []string{"Content-Type", "Accept", "If-None-Match"} {
		if v := c.r.Header.Get(key); v != "" {
			h.Set(key, v)
		}
	}
	if c.rt.Upgrade {
		for _, key := range upgradeHeaders() {
			h[key] = c.r.Header[key]
		}
	}
	h.Set(headerForwarded, c.s.self().NodeID)
	if c.caller.NodeID != "" {
		h.Set(headerNodeID, c.caller.NodeID)
	}
	if c.requestID != "" {
		h.Set(headerRequestID, c.requestID)
	}
	return h
}

// milliseconds parses nothing but digits as a header's duration.
func milliseconds(v string) time.Duration {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0 // absent
	}
	return time.Duration(n) * time.Millisecond
}
