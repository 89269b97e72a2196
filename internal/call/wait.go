package call

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Pause waits. If the context ends before the wait is over, it returns an
// error. If the deadline of the context is sooner, it returns the error at
// once.
func Pause(ctx context.Context, wait time.Duration) error {
	if err := checkDeadline(ctx, wait); err != nil {
		return err
	}
	return Sleep(ctx, wait)
}

// Sleep waits, but only until the context ends.
func Sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ContextError(ctx)
	}
}

// waitForLimiter calls Wait, if there is one.
func (c *Caller) waitForLimiter(ctx context.Context) error {
	if err := checkContext(ctx); err != nil || c.Wait == nil {
		return err
	}
	err := c.Wait(ctx)
	if err != nil && exceedsDeadline(ctx, err) {
		return fmt.Errorf("%w: rate limiter: %w", context.DeadlineExceeded, err)
	}
	return afterCallback(ctx, "rate limiter", err)
}

// nextToken calls Token of the request.
func nextToken(ctx context.Context, req *Request) (string, error) {
	token, err := req.Token(ctx)
	return token, afterCallback(ctx, "token source", err)
}

// afterCallback returns the error with which the call ends after a function of
// the caller returned err. The function may have outlived the context.
func afterCallback(ctx context.Context, name string, err error) error {
	switch {
	case err == nil:
		return checkContext(ctx)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s: %w", ContextError(ctx), name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// exceedsDeadline reports whether a rate limiter gave up early because of the
// deadline. The one of golang.org/x/time/rate does so, and its error has no
// type.
func exceedsDeadline(ctx context.Context, err error) bool {
	_, ok := ctx.Deadline()
	return ok && ctx.Err() == nil &&
		strings.Contains(err.Error(), "exceed") && strings.Contains(err.Error(), "deadline")
}

// checkDeadline returns an error if the context has ended, or will end before
// the wait does.
func checkDeadline(ctx context.Context, wait time.Duration) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return fmt.Errorf("a wait of %v would outlast the context: %w", wait.Round(time.Millisecond),
			context.DeadlineExceeded)
	}
	return nil
}

// checkContext returns an error if the context has ended. It also compares the
// deadline with the clock, because the timer of the context is late in a
// process that was stopped for a while.
func checkContext(ctx context.Context) error {
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	if deadline, ok := ctx.Deadline(); ok && time.Now().After(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// ContextError returns ctx.Err() together with the cause of the context.
func ContextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// withContext adds the error of the context to err, if the context has ended
// and err does not include it. net/http returns only the cause of a context.
func withContext(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("%w: %w", ContextError(ctx), err)
}
