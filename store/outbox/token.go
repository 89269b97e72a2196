package outbox

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// newToken returns ID.expiry.signature. The signature makes it a secret, so the
// database need not contain the token.
func (o *Outbox) newToken(s *Signup) string {
	expiry := strconv.FormatInt(time.Now().Add(o.opts.TokenLifetime).Unix(), 36)
	return s.ID + "." + expiry + "." + o.sign(s, expiry)
}

// sign includes how often the visitor has corrected the sign-up, because the
// redirect URL is not for those who have only an earlier token.
func (o *Outbox) sign(s *Signup, expiry string) string {
	mac := hmac.New(sha256.New, o.opts.TokenKey)
	_, _ = mac.Write([]byte(s.ID + "." + expiry + "." + strconv.FormatInt(s.replaced, 10)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// ByToken returns the sign-up of a token that Add has returned. If the token is
// wrong or has expired, it returns ErrNotFound.
func (o *Outbox) ByToken(ctx context.Context, token string) (*Signup, error) {
	id, rest, _ := strings.Cut(token, ".")
	expiry, signature, _ := strings.Cut(rest, ".")
	seconds, err := strconv.ParseInt(expiry, 36, 64)
	if err != nil || time.Now().Unix() >= seconds {
		return nil, ErrNotFound
	}
	s, err := o.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal([]byte(signature), []byte(o.sign(s, expiry))) {
		return nil, ErrNotFound
	}
	s.Token = token
	return s, nil
}
