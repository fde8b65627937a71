package api

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
)

// ImportImage sends an archive of size bytes, -1 when that is not known, to an agent that keeps images.
func (c *Client) ImportImage(ctx context.Context, req ImageImportRequest, archive io.Reader, size int64) (*ImageImportResponse, error) {
	q := url.Values{}
	for name, v := range map[string]string{"name": req.Name, "node": req.NodeID, "source": req.Source} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if req.Copies > 0 {
		q.Set("copies", strconv.Itoa(req.Copies))
	}
	out := new(ImageImportResponse)
	if _, err := c.call(ctx, exchange{route: routeImageImport, query: q, stream: archive, length: size}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Images lists the imported images, one page.
func (c *Client) Images(ctx context.Context, q QueryOptions) ([]ImageListItem, QueryMeta, error) {
	return readInto[[]ImageListItem](ctx, c, routeImages, "", q, nil)
}

// Image reads an imported image by a name or its digest.
func (c *Client) Image(ctx context.Context, ref string, q QueryOptions) (*ImageView, QueryMeta, error) {
	return readInto[*ImageView](ctx, c, routeImage, ref, q, nil)
}

// FindImage reads the image whose name or digest is ref, or alone begins with it.
func (c *Client) FindImage(ctx context.Context, ref string, q QueryOptions) (*ImageView, error) {
	v, _, err := c.Image(ctx, ref, q)
	if err == nil {
		return v, nil
	}
	q.Prefix, q.PerPage = ref, 50
	items, meta, listErr := c.Images(ctx, q)
	if listErr != nil || len(items) == 0 {
		return nil, err
	}
	one, err := unique("image", ref, meta.NextToken != "", items, func(i ImageListItem) string { return i.Digest })
	if err != nil {
		return nil, err
	}
	v, _, err = c.Image(ctx, one.Digest, QueryOptions{Stale: q.Stale})
	return v, err
}

// RemoveImage takes a name from an image or, with its last name or by its digest, removes it; with force also when jobs need it.
func (c *Client) RemoveImage(ctx context.Context, ref string, force bool, w WriteOptions) (*WriteResponse, error) {
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	return writeInto[WriteResponse](ctx, c, routeImageRemove, ref, w, q, nil)
}

// ResolveImages asks the agent what tags mean now, by the cluster's word or their registries'.
func (c *Client) ResolveImages(ctx context.Context, questions []ImageQuestion) ([]ImageAnswer, error) {
	out := new(ImageResolveResponse)
	if err := c.ask(ctx, routeImageResolve, "", ImageResolveRequest{Images: questions}, out); err != nil {
		return nil, err
	}
	if len(out.Images) != len(questions) {
		return nil, fmt.Errorf("ask %s about images: %d answers to %d questions", c.cfg.Addr, len(out.Images), len(questions))
	}
	return out.Images, nil
}

// ReadImageBlob opens a part of an image on another agent, from an offset to its end. The caller closes it.
func (c *Client) ReadImageBlob(ctx context.Context, digest string, offset int64) (io.ReadCloser, error) {
	x := exchange{route: routeImageBlob, id: digest}
	if offset > 0 {
		x.from = offset
	}
	res, err := c.do(ctx, x)
	if err != nil {
		return nil, err
	}
	if began := res.Header.Get("Content-Range"); offset > 0 && began == "" {
		return nil, fmt.Errorf("read %s on %s from byte %d: it sends all of it (%w)", digest, c.cfg.Addr, offset, res.Body.Close())
	}
	return res.Body, nil
}

// ImageOrders names the images of this machine and waits for orders about them. With stale any server may answer.
func (c *Client) ImageOrders(ctx context.Context, req *ImagePollRequest, stale bool) (*ImagePollResponse, error) {
	x := exchange{route: routeProtoImages, body: req, wait: req.Wait, query: url.Values{}}
	if stale {
		x.query.Set("stale", "true")
	}
	out := new(ImagePollResponse)
	if _, err := c.call(ctx, x, out); err != nil {
		return nil, err
	}
	return out, nil
}

// HoldImages says which images this machine has.
func (c *Client) HoldImages(ctx context.Context, req *ImageHoldRequest) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeProtoHold, "", WriteOptions{}, nil, req)
}

// AnnounceImage brings an image that this machine has.
func (c *Client) AnnounceImage(ctx context.Context, req *ImageAnnounceRequest) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeProtoImage, "", WriteOptions{RequestID: req.RequestID}, nil, req)
}
