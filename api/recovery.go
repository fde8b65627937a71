package api

import (
	"context"
	"time"
)

// Recovery is what brings a cluster back that has lost the majority of its servers for good. It is asked on the surviving server.
type Recovery interface {
	// Survey says who is left, what this server's log holds, and what recovering from it would put at risk.
	Survey(ctx context.Context) (*RecoveryView, error)
	// Recover makes this server, alone, the cluster.
	Recover(ctx context.Context, req *RecoverRequest) (*RecoverResponse, error)
}

// RecoveryView is what recovering the cluster from the server that was asked means.
type RecoveryView struct {
	NodeID      string
	Name        string
	ClusterID   string
	Leader      string           // peer address of the leader; "" while there is none, and only then can anything be recovered
	LastIndex   uint64           // newest entry in this server's log
	LastTerm    uint64           // its term
	CommitIndex uint64           // newest entry that this server knows to be committed
	InTouch     int64            // when this server last led or heard of a leader, by its wall clock in nanoseconds; 0 when it does not know
	Led         bool             // it was the leader then
	Servers     []RecoveryServer // of the configuration, and others that answer
	InDoubt     []InDoubt        // newest commands behind CommitIndex, oldest first, at most 20; some may share an entry
	InDoubtAll  int              // how many there are
	Risks       []string         // what is kept and what may be lost, one sentence each
	Refusals    []string         // why recovering from here is wrong; it is refused unless forced
}

// What became of a server, in RecoveryServer.State.
const (
	ServerSelf    = "this server"
	ServerAnswers = "answers, has a log"
	ServerWiped   = "answers, its log is empty"
	ServerOther   = "another server is at its address"
	ServerSilent  = "does not answer"
	ServerWaiting = "not in the configuration, waits to join"
)

// RecoveryServer is one server as the survivor sees it.
type RecoveryServer struct {
	ID        string
	Name      string
	Address   string // of its peer listener
	Voter     bool
	State     string // a Server constant
	LastIndex uint64 // newest entry in its log, 0 when it has none or does not say
	LastTerm  uint64
	Newer     bool // its log is newer than that of the server asked
}

// InDoubt is a command in the log that is not known to be committed.
type InDoubt struct {
	Index       uint64 // of its entry
	Description string
}

// RecoverRequest confirms a RecoveryView.
type RecoverRequest struct {
	NodeID    string // of the server to recover from
	LastIndex uint64 // as the view says: what was looked at is what is recovered
	LastTerm  uint64
	Force     bool // in spite of the view's Refusals
}

// RecoverResponse says what the cluster is now.
type RecoverResponse struct {
	Index      uint64
	Generation uint64
	View       *RecoveryView // as it was before
}

// recoverTimeout bounds a recovery: the whole log is replayed.
const recoverTimeout = 10 * time.Minute

func recoveryRoutes() []Route {
	return []Route{
		{
			Name: routeRecoverySurvey, Method: get, Path: "/v1/operator/recover", Capability: CapOperatorRead, Where: AnyServer,
			Concurrency: 4, handler: answer(surveyRecovery),
			Doc: "say what recovering the cluster from the server asked would mean, after a majority of the servers was lost",
		},
		{
			Name: routeRecover, Method: put, Path: "/v1/operator/recover", Capability: CapOperatorWrite, Where: AnyServer,
			Concurrency: 1, Timeout: recoverTimeout, handler: take(recoverCluster),
			Doc: "make the server asked, alone, the cluster, after a majority of the servers was lost",
		},
	}
}

func surveyRecovery(c *call) (*RecoveryView, error) { return c.s.b.Recovery.Survey(c.ctx) }

func recoverCluster(c *call, req *RecoverRequest) (*RecoverResponse, error) {
	if id := c.s.b.Cluster.Self().NodeID; req.NodeID != id {
		return nil, NewError(CodeConflict, "ask the surviving server itself: --address http://HOST:4646", "server %q is to be recovered from, and %s was asked", req.NodeID, id)
	}
	return c.s.b.Recovery.Recover(c.ctx, req)
}

// SurveyRecovery says what recovering the cluster from the server asked would mean.
func (c *Client) SurveyRecovery(ctx context.Context) (*RecoveryView, error) {
	out, _, err := readInto[*RecoveryView](ctx, c, routeRecoverySurvey, "", QueryOptions{}, nil)
	return out, err
}

// Recover makes the server asked, alone, the cluster.
func (c *Client) Recover(ctx context.Context, req *RecoverRequest) (*RecoverResponse, error) {
	return writeInto[RecoverResponse](ctx, c, routeRecover, "", WriteOptions{}, nil, req)
}
