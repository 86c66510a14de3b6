"""KEDA external scaler for SQS, Sidekiq and the work queues of GitOps controllers."""
