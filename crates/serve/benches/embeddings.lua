-- What the public load tool `wrk` sends: the smallest embedding there is.
wrk.method = "POST"
wrk.body = '{"model":"m0","input":[1,2,3,4,5,6,7,8],"encoding_format":"base64"}'
wrk.headers["content-type"] = "application/json"
