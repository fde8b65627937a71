package api

import (
	"context"
	"io"
	"time"

	"github.com/drover-io/drover/state"
)

// Images is the machine's side of images: what only an agent that keeps them can do.
type Images interface {
	// CanImport reports whether this agent can take images in now. It must not block.
	CanImport() bool
	// Import reads an archive to its end, keeps the images in it and tells the cluster. Nothing is kept of one that is refused.
	Import(ctx context.Context, req *ImageImportRequest, archive io.Reader) (*ImageImportResponse, error)
	// OpenBlob opens a part of an image that this machine holds. ErrNotFound for anything else.
	OpenBlob(ctx context.Context, digest string) (ImageBlob, error)
}

// ImageBlob is a part of an image.
type ImageBlob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// ImageProtocol is what agents that keep images ask of the servers.
type ImageProtocol interface {
	// ImageOrders says what a node's images are to do, when there is something to do, at the latest after req.Wait. Asked on any server.
	ImageOrders(ctx context.Context, req *ImagePollRequest) (*ImagePollResponse, error)
	// HoldImages stores which images a node has. Asked on the leader.
	HoldImages(ctx context.Context, req *ImageHoldRequest) (*WriteResponse, error)
	// AnnounceImage stores an image that a node imported. Asked on the leader.
	AnnounceImage(ctx context.Context, req *ImageAnnounceRequest) (*WriteResponse, error)
}

// ImagePollRequest names the images that a node has and waits for orders about them.
type ImagePollRequest struct {
	NodeID    string
	ClusterID string
	Index     uint64        // newest index that the node has seen
	Wait      time.Duration // how long to wait for something to do; at most MaxPollWait
	Held      []string      // digests of the images that are whole on the machine
	Busy      []string      // digests of those that it fetches already, or could not fetch a moment ago
}

// ImagePollResponse is what a node's images are to do. What is in no list is left alone.
type ImagePollResponse struct {
	ClusterID string
	Index     uint64 // state that the orders are made from

	Report   bool         `json:",omitempty"` // the cluster believes something else of what the node has: say it
	Announce []string     `json:",omitempty"` // held, and the cluster has forgotten them: a backup was restored
	Drop     []string     `json:",omitempty"` // held, and removed by an operator
	Fetch    []ImageOrder `json:",omitempty"` // to be fetched although nothing here needs them: there are too few copies
}

// ImageOrder is an image to fetch, and from whom.
type ImageOrder struct {
	Image   *state.Image
	Holders []ImageHolder
}

// ImageHoldRequest says which images a node has: all of them.
type ImageHoldRequest struct {
	NodeID    string
	ClusterID string
	Boot      uint64
	Digests   []string
}

// ImageAnnounceRequest brings an image that a node has.
type ImageAnnounceRequest struct {
	NodeID    string
	ClusterID string
	RequestID string
	Image     *state.Image
	Restored  bool // the cluster knew it once: names that others have by now stay theirs
}

func protoImages(c *call, req *ImagePollRequest) (*ImagePollResponse, error) {
	if err := c.speaksFor(req.NodeID); err != nil {
		return nil, err
	}
	if c.s.b.ImageNodes == nil {
		return nil, NewError(CodeUnavailable, "ask a server", "this agent is no server")
	}
	req.Wait = min(max(req.Wait, 0), MaxPollWait)
	ctx, cancel := c.untilClosing()
	defer cancel()
	return c.s.b.ImageNodes.ImageOrders(ctx, req)
}

func protoHold(c *call, req *ImageHoldRequest) (*WriteResponse, error) {
	if err := c.speaksFor(req.NodeID); err != nil {
		return nil, err
	}
	return c.s.b.ImageNodes.HoldImages(c.ctx, req)
}

func protoAnnounceImage(c *call, req *ImageAnnounceRequest) (*WriteResponse, error) {
	if err := c.speaksFor(req.NodeID); err != nil {
		return nil, err
	}
	if req.Image == nil {
		return nil, NewError(CodeInvalid, "", "the body has no Image")
	}
	return c.s.b.ImageNodes.AnnounceImage(c.ctx, req)
}

// node is the agent that an import goes to: the one that the query names, else the one asked when it can, else one that can.
func (s *Server) node(c *call, last attempt, try int) target {
	want := c.query.Get("node")
	can := s.b.Images != nil && s.b.Images.CanImport()
	self := s.self().NodeID
	switch {
	case can && (want == "" || want == self):
		return target{local: true}
	case want == self:
		return target{err: NewError(CodeUnavailable, "name another node, or none", "node %s runs no containers, so that it cannot keep images", want)}
	case last.hint != "":
		return target{addr: last.hint, final: last.owner}
	case s.b.State == nil:
		return s.someServer(attempt{addr: last.addr}, try) // it says where that node is
	}
	snap := s.b.State.Snapshot()
	if want != "" {
		n := snap.Node(want)
		if n == nil {
			return target{err: noNode(want)}
		}
		return target{addr: n.PeerAddr, id: n.ID, final: true}
	}
	for n := range snap.Nodes() {
		if n.Status == state.NodeStatusReady && n.ID != self && KeepsImages(n) {
			return target{addr: n.PeerAddr, id: n.ID, final: true}
		}
	}
	return target{err: NewError(CodeUnavailable, "look at `drover node status --verbose`", "no node runs containers, so that none can keep an image")}
}

// KeepsImages reports whether a node has a driver that keeps imported images, and it is well.
func KeepsImages(n *state.Node) bool {
	return n.Drivers["containerd"].Healthy || n.Drivers["fake"].Healthy
}
