#include <aio/error.hpp>

#include <gtest/gtest.h>

TEST(error, an_errno_compares_with_the_condition_of_its_name) {
    const std::error_code error = aio::make_error(-ECONNRESET);
    EXPECT_EQ(error, std::errc::connection_reset);
    EXPECT_NE(error, std::errc::timed_out);
    EXPECT_EQ(error.category(), aio::category());
    EXPECT_EQ(error.value(), ECONNRESET);
}

TEST(error, a_deadline_is_a_timeout_and_the_networks_timeout_is_no_deadline) {
    const std::error_code ours = aio::make_error(-ETIMEDOUT, AIO_CQE_DEADLINE);
    const std::error_code networks = aio::make_error(-ETIMEDOUT);
    EXPECT_EQ(ours, aio::errc::deadline);
    EXPECT_EQ(ours, std::errc::timed_out);
    EXPECT_EQ(networks, std::errc::timed_out);
    EXPECT_NE(networks, aio::errc::deadline);
    EXPECT_EQ(ours.message(), "the deadline has passed");
}

TEST(error, an_abort_is_a_cancellation_and_a_cancel_is_no_abort) {
    const std::error_code aborted = aio::make_error(-ECANCELED, AIO_CQE_ABORTED);
    const std::error_code cancelled = aio::make_error(-ECANCELED);
    EXPECT_EQ(aborted, aio::errc::aborted);
    EXPECT_TRUE(aio::is_cancelled(aborted));
    EXPECT_TRUE(aio::is_cancelled(cancelled));
    EXPECT_NE(cancelled, aio::errc::aborted);
    EXPECT_FALSE(aio::is_cancelled(aio::make_error(-EPIPE)));
}

TEST(error, codes_of_the_engine_have_its_texts) {
    const std::error_code error = aio::make_error(AIO_EWRONGTHREAD);
    EXPECT_EQ(error, aio::errc::wrong_thread);
    EXPECT_EQ(error.message(), aio_strerror(AIO_EWRONGTHREAD));
    EXPECT_EQ(aio::make_error(-ENOENT).message(), aio_strerror(-ENOENT));
    EXPECT_STREQ(error.category().name(), "aio");
}
