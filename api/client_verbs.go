package api

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"time"
)

// ScaleJob changes the number of copies of one group; group may be "" where the job has one.
func (c *Client) ScaleJob(ctx context.Context, id, group string, count int, w WriteOptions) (*JobRegisterResponse, error) {
	req := ScaleRequest{Count: &count}
	if group != "" {
		req.Target = map[string]string{"Group": group}
	}
	return writeInto[JobRegisterResponse](ctx, c, routeJobScale, id, w, nil, req)
}

// StartJob starts a stopped job again, as it was registered.
func (c *Client) StartJob(ctx context.Context, id string, w WriteOptions) (*JobRegisterResponse, error) {
	return writeInto[JobRegisterResponse](ctx, c, routeJobStart, id, w, nil, nil)
}

// RevertJob makes an older version of a job the newest. prior, when it is not nil, must be the newest until then.
func (c *Client) RevertJob(ctx context.Context, id string, version uint64, prior *uint64, w WriteOptions) (*JobRegisterResponse, error) {
	return writeInto[JobRegisterResponse](ctx, c, routeJobRevert, id, w, nil, RevertRequest{JobVersion: version, EnforcePriorVersion: prior})
}

// CollectGarbage removes at once what would be removed when it is old enough.
func (c *Client) CollectGarbage(ctx context.Context) (*GarbageView, error) {
	return askInto[GarbageView](ctx, c, routeSystemGC, "", nil)
}

// AgentRef names the agent that is meant: by its node ID, the beginning of one, or its name. The zero value is the one asked.
type AgentRef struct {
	Node   string // any agent
	Server string // a server; "leader" for the one that leads
}

// query adds the reference to a query.
func (r AgentRef) query(q url.Values) url.Values {
	if q == nil {
		q = url.Values{}
	}
	if r.Node != "" {
		q.Set("node_id", r.Node)
	}
	if r.Server != "" {
		q.Set("server_id", r.Server)
	}
	return q
}

// Monitor opens an agent's log. With Follow it lasts until ctx ends or the reader is closed. The caller closes it.
func (c *Client) Monitor(ctx context.Context, ref AgentRef, req MonitorRequest) (io.ReadCloser, error) {
	q := url.Values{"follow": {strconv.FormatBool(req.Follow)}}
	if req.Level != "" {
		q.Set("log_level", req.Level)
	}
	if req.JSON {
		q.Set("log_json", "true")
	}
	return c.open(ctx, exchange{route: routeMonitor, query: ref.query(q)})
}

// Profile opens a profile of an agent's process. The caller closes it.
func (c *Client) Profile(ctx context.Context, ref AgentRef, name string, d time.Duration, debug int) (io.ReadCloser, error) {
	q := url.Values{}
	if d > 0 {
		q.Set("seconds", strconv.Itoa(int(d.Seconds())))
	}
	if debug > 0 {
		q.Set("debug", strconv.Itoa(debug))
	}
	return c.open(ctx, exchange{route: routeProfile, id: name, query: ref.query(q)})
}

func (c *Client) open(ctx context.Context, x exchange) (io.ReadCloser, error) {
	res, err := c.do(ctx, x)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// JoinAgents makes the agent asked gossip with others, and returns how many answered.
func (c *Client) JoinAgents(ctx context.Context, addrs []string) (int, error) {
	out, err := writeInto[JoinAgentsResponse](ctx, c, routeAgentJoin, "", WriteOptions{}, url.Values{"address": addrs}, nil)
	if err != nil {
		return 0, err
	}
	return out.NumJoined, nil
}

// ForceLeave forgets an agent that gossip has found dead; with local the agent asked tells nobody else.
func (c *Client) ForceLeave(ctx context.Context, name string, local bool, w WriteOptions) (*WriteResponse, error) {
	q := url.Values{"node": {name}}
	if local {
		q.Set("local", "true")
	}
	return writeInto[WriteResponse](ctx, c, routeForceLeave, "", w, q, nil)
}

// HostStats measures an agent's machine.
func (c *Client) HostStats(ctx context.Context, ref AgentRef) (*HostStats, error) {
	out, _, err := readInto[*HostStats](ctx, c, routeHostStats, "", QueryOptions{}, ref.query(nil))
	return out, err
}

// SelfOf describes an agent.
func (c *Client) SelfOf(ctx context.Context, ref AgentRef) (*AgentSelf, error) {
	out, _, err := readInto[*AgentSelf](ctx, c, routeAgentSelf, "", QueryOptions{}, ref.query(nil))
	return out, err
}

// HealthOf is an agent's judgement of its roles.
func (c *Client) HealthOf(ctx context.Context, ref AgentRef) (*AgentHealth, error) {
	out, _, err := readInto[*AgentHealth](ctx, c, routeAgentHealth, "", QueryOptions{}, ref.query(nil))
	return out, err
}

// MetricsOf opens an agent's metrics, as JSON or with format "prometheus" as Prometheus takes them. The caller closes it.
func (c *Client) MetricsOf(ctx context.Context, ref AgentRef, format string) (io.ReadCloser, error) {
	q := url.Values{}
	if format != "" {
		q.Set("format", format)
	}
	return c.open(ctx, exchange{route: routeMetrics, query: ref.query(q)})
}
